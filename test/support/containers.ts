import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { until } from './pipeline.ts';

/** For a service to be well, on a busy machine. */
const STARTED_MS = 300_000;

/** The fields of a compose file that decide what a container may do. */
export const ComposeFile = z.object({
  services: z.record(
    z.string(),
    z.object({
      image: z.string(),
      user: z.string(),
      read_only: z.literal(true),
      cap_drop: z.tuple([z.literal('ALL')]),
      security_opt: z.tuple([z.literal('no-new-privileges:true')]),
      command: z.array(z.string()),
      env_file: z.array(z.string()).default([]),
      environment: z.record(z.string(), z.string()).default({}),
      tmpfs: z.array(z.string()).default([]),
      volumes: z.array(z.string()).default([]),
      networks: z.array(z.string()),
      healthcheck: z.object({ test: z.array(z.string()).min(2) }),
    }),
  ),
});
type Service = z.infer<typeof ComposeFile>['services'][string];

/** The root of an image: what it has beside the system of this machine, and how its command begins. */
export interface Image {
  /** Folders of this machine and where each is in the root. */
  readonly folders: Readonly<Record<string, string>>;
  readonly workdir: string;
  readonly entrypoint: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const SYSTEM_PATH = '/usr/local/bin:/usr/bin:/bin';

/** Whether this process may make namespaces as an engine does. Says on standard error where it may not. */
export function canContain(): boolean {
  const probe = 'ip netns add cs-probe && ip netns del cs-probe && mount -t tmpfs tmpfs /mnt && setpriv --version';
  const isPossible = spawnSync('unshare', ['-m', 'bash', '-ec', probe], { stdio: 'ignore' }).status === 0;
  if (!isPossible) process.stderr.write('SKIPPED: no namespaces can be made here; nothing was run as in a container\n');
  return isPossible;
}

const bash = (script: string): string => execFileSync('bash', ['-euc', script], { encoding: 'utf8' });
const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * Runs services of a compose file without an engine: each in namespaces of its own for mounts and network, in
 * a root of its own that is read-only, as its user, without capabilities, with its volumes, tmpfs and
 * networks, on which it finds the others by their names. The system's libraries are those of this machine.
 */
export class Containers {
  readonly #folder: string;
  readonly #tag = `cs${process.pid}`;
  readonly #services: Readonly<Record<string, Service>>;
  readonly #images: Readonly<Record<string, Image>>;
  readonly #running = new Map<string, ChildProcess>();
  readonly #networks: readonly string[];

  /** `folder` is the one of the compose file, by which its relative paths are read; `work` is for ours. */
  constructor(
    readonly composeFolder: string,
    work: string,
    services: Readonly<Record<string, Service>>,
    images: Readonly<Record<string, Image>>,
  ) {
    this.#folder = work;
    this.#services = services;
    this.#images = images;
    this.#networks = [...new Set(Object.values(services).flatMap(({ networks }) => networks))];
    this.#connect();
  }

  /** Starts a service, and returns when its own health check says that it is well. */
  async start(name: string): Promise<void> {
    const service = this.#service(name);
    const log = openSync(join(this.#folder, `${name}.log`), 'a');
    const inside = ['netns', 'exec', this.#space(name), 'unshare', '-m', '--propagation', 'private'];
    const child = spawn('ip', [...inside, 'bash', '-euc', this.#script(name, service)], {
      stdio: ['ignore', log, log],
      env: { PATH: process.env['PATH'] },
    });
    this.#running.set(name, child);
    await until(() => {
      if (child.exitCode !== null) throw new Error(`${name} ended: ${this.logOf(name)}`);
      const [kind, ...words] = service.healthcheck.test;
      const command = kind === 'CMD-SHELL' ? ['sh', '-c', ...words] : words;
      return this.run(name, command).status === 0;
    }, STARTED_MS);
  }

  /** Runs a command in a service's container, as its user. */
  run(name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const { env: own } = this.#image(name);
    const all = { PATH: SYSTEM_PATH, ...own, ...env };
    const words = ['-t', String(this.pid(name)), '-n', '-m', '-r', '-w'];
    const limits = this.#limits(this.#service(name));
    const assigned = Object.entries(all).map(([variable, value]) => `${variable}=${value}`);
    return spawnSync('nsenter', [...words, ...limits, 'env', '-i', ...assigned, ...command], { encoding: 'utf8' });
  }

  pid(name: string): number {
    const child = this.#running.get(name);
    if (child?.pid === undefined) throw new Error(`${name} does not run`);
    return child.pid;
  }

  logOf = (name: string): string => readFileSync(join(this.#folder, `${name}.log`), 'utf8').slice(-2_000);

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [...this.#running.values()].reverse()) {
      if (child.exitCode !== null) continue;
      const gone = new Promise((ended) => child.once('exit', ended));
      child.kill('SIGKILL');
      await gone;
    }
    const spaces = [...Object.keys(this.#services).map((name) => this.#space(name)), this.#space('hub')];
    for (const space of spaces) spawnSync('ip', ['netns', 'del', space]);
  }

  /** A bridge for each network, and each service on its own networks only. */
  #connect(): void {
    const hub = this.#space('hub');
    const lines = [`ip netns add ${hub}`];
    for (const at of this.#networks.keys())
      lines.push(`ip -n ${hub} link add br${at} type bridge`, `ip -n ${hub} link set br${at} up`);
    for (const [name, { networks }] of Object.entries(this.#services)) {
      const space = this.#space(name);
      lines.push(`ip netns add ${space}`, `ip -n ${space} link set lo up`);
      for (const network of networks) {
        const at = this.#networks.indexOf(network);
        const port = `${at}-${this.#number(name)}`;
        lines.push(
          `ip link add eth${at} netns ${space} type veth peer name p${port} netns ${hub}`,
          `ip -n ${hub} link set p${port} master br${at} up`,
          `ip -n ${space} addr add ${this.#address(network, name)}/24 dev eth${at}`,
          `ip -n ${space} link set eth${at} up`,
        );
      }
    }
    bash(lines.join('\n'));
  }

  /** What an engine does before it starts the program of an image. */
  #script(name: string, service: Service): string {
    const { folders, workdir, entrypoint, env } = this.#image(name);
    const root = join(this.#folder, `root-${name}`);
    mkdirSync(root, { recursive: true });
    const hosts = join(this.#folder, `hosts-${name}`);
    writeFileSync(hosts, this.#hosts(name, service));
    const bind = (from: string, to: string, mode: 'ro' | 'rw', kind: 'dir' | 'file' = 'dir') => [
      kind === 'dir'
        ? `mkdir -p ${quoted(root + to)}`
        : `mkdir -p $(dirname ${quoted(root + to)}); : > ${quoted(root + to)}`,
      `mount --bind ${quoted(from)} ${quoted(root + to)}`,
      ...(mode === 'ro' ? [`mount -o remount,bind,ro ${quoted(root + to)}`] : []),
    ];
    const volumes = service.volumes.flatMap((volume) => {
      const [from = '', to = '', mode] = volume.split(':');
      return bind(resolve(this.composeFolder, from), to, mode === 'ro' ? 'ro' : 'rw');
    });
    const devices = ['null', 'zero', 'urandom', 'random'].flatMap((one) =>
      bind(`/dev/${one}`, `/dev/${one}`, 'rw', 'file'),
    );
    const variables = { PATH: SYSTEM_PATH, HOME: '/', ...env, ...this.#environment(service) };
    const command = [
      ...this.#limits(service),
      ...['env', '-i', ...Object.entries(variables).map(([variable, value]) => `${variable}=${value}`)],
      ...[...entrypoint, ...service.command],
    ];
    return [
      `mount -t tmpfs -o mode=755 tmpfs ${quoted(root)}`,
      ...['bin', 'lib', 'lib64', 'sbin'].map((one) => `cp -a /${one} ${quoted(root)}/ 2>/dev/null || true`),
      ...bind('/usr', '/usr', 'ro'),
      ...bind('/proc', '/proc', 'rw'),
      ...devices,
      ...bind(hosts, '/etc/hosts', 'ro', 'file'),
      `printf 'hosts: files\\n' > ${quoted(root)}/etc/nsswitch.conf`,
      ...Object.entries(folders).flatMap(([to, from]) => bind(from, to, 'ro')),
      ...volumes,
      ...service.tmpfs.map(
        (to) => `mkdir -p ${quoted(root + to)}; mount -t tmpfs -o mode=1777 tmpfs ${quoted(root + to)}`,
      ),
      `mount -o remount,ro ${quoted(root)}`,
      `cd ${quoted(root)}`,
      `exec chroot . /usr/bin/env --chdir=${quoted(workdir)} ${command.map(quoted).join(' ')}`,
    ].join('\n');
  }

  #limits({ user }: Service): string[] {
    const [uid = '', gid = ''] = user.split(':');
    const none = ['--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs'];
    return ['/usr/bin/setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...none];
  }

  #environment(service: Service): Record<string, string> {
    const lines = service.env_file.flatMap((file) =>
      readFileSync(resolve(this.composeFolder, file), 'utf8').trim().split('\n'),
    );
    const told = lines.map((line): [string, string] => [
      line.slice(0, line.indexOf('=')),
      line.slice(line.indexOf('=') + 1),
    ]);
    return { ...Object.fromEntries(told), ...service.environment };
  }

  /** The names of those with whom a service shares a network. */
  #hosts(own: string, { networks }: Service): string {
    const others = Object.entries(this.#services).flatMap(([name, other]) => {
      const shared = networks.find((network) => other.networks.includes(network));
      return shared === undefined ? [] : [`${this.#address(shared, name)} ${name}`];
    });
    return ['127.0.0.1 localhost', ...others, ''].join('\n');
  }

  readonly #number = (name: string): number => Object.keys(this.#services).indexOf(name);
  readonly #address = (network: string, name: string): string =>
    `10.55.${this.#networks.indexOf(network)}.${this.#number(name) + 10}`;
  readonly #space = (name: string): string => `${this.#tag}-${name === 'hub' ? 'hub' : this.#number(name)}`;

  #service(name: string): Service {
    const service = this.#services[name];
    if (service === undefined) throw new Error(`There is no service ${name}.`);
    return service;
  }

  #image(name: string): Image {
    const image = this.#images[this.#service(name).image.split(':')[0] ?? ''];
    if (image === undefined) throw new Error(`There is no image of ${name}.`);
    return image;
  }
}
