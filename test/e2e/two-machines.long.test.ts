import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { findRedisServer } from '../../src/ground/redis/redis-server.ts';
import { canContain } from '../support/containers.ts';
import { until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';

/** The commands of the document, and the machine that each is given on. */
const [, block = ''] = /^## Two machines\n[\s\S]*?```sh\n([\s\S]*?)```/m.exec(
  readFileSync(join(ROOT, 'docs', 'operations.md'), 'utf8'),
) ?? [''];
const COMMANDS = block
  .trim()
  .split('\n')
  .map((line) => /^(?<command>.*\S)\s+# on (?<machine>[ab])$/.exec(line)?.groups ?? {});

const DEVICES = { null: 3, zero: 5, random: 8, urandom: 9 };
const PATH = '/stand-ins:/usr/local/bin:/usr/bin:/bin:/usr/sbin';

/**
 * What these machines do not have, in the least that the commands ask of it. `systemctl` runs what a unit
 * says, as its user and with its environment, again and again.
 */
const STAND_INS = {
  countersign: 'exec node /opt/countersign/dist/roles/cli/main.js "$@"',
  ssh: 'shift; exec nsenter -t "$(cat /peer)" -m -r -w env HOME=/root PATH="$PATH" sh -c "cd /root && $*"',
  mount: 'exec /usr/bin/mount --bind "/exports/${1#a:}" "$2"',
  systemctl: `[ "$1" = enable ] || exit 0
shift 2
for name in "$@"; do
  unit=/etc/systemd/system/$name.service
  of() { sed -n "s/^$1=//p" "$unit"; }
  environment=$(of EnvironmentFile)
  folder=$(of WorkingDirectory)
  for path in $(of ReadWritePaths); do [ -d "$path" ] || { echo "$path is not there" >&2; exit 1; }; done
  setsid sh -c "cd '\${folder:-/}'; while :; do
    setpriv --reuid=$(of User) --regid=$(of Group) --clear-groups --no-new-privs \\
      env -i PATH=$PATH HOME=/nowhere $(tr '\\n' ' ' < "\${environment:-/dev/null}") $(of ExecStart); sleep 2; done" \\
    > "/var/log/$name.log" 2>&1 < /dev/null &
done`,
};

/** A machine: mounts of its own, with a system, a state and a home that no other one sees. */
class Machine {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async start(work: string, network: string, name: string, files: Record<string, string>): Promise<Machine> {
    const root = join(work, name);
    mkdirSync(root);
    const bind = (from: string, to: string, more = '') =>
      `mkdir -p '${root}${to}'; mount --bind '${from}' '${root}${to}'; ${more}`;
    const script = [
      `mount -t tmpfs -o mode=755 tmpfs '${root}'`,
      ...['bin', 'lib', 'lib64', 'sbin'].map((one) => `cp -a /${one} '${root}/' 2>/dev/null || true`),
      `cp -a /etc '${root}/etc'; rm -rf '${root}/etc/countersign'`,
      `mkdir -p '${root}/root' '${root}/tmp' '${root}/var/log' '${root}/stand-ins'; chmod 1777 '${root}/tmp'`,
      bind('/usr', '/usr'),
      bind('/proc', '/proc'),
      `mkdir '${root}/dev'`,
      ...Object.entries(DEVICES).map(([name, number]) => `mknod -m 666 '${root}/dev/${name}' c 1 ${number}`),
      bind(ROOT, '/opt/countersign', `mount -o remount,bind,ro '${root}/opt/countersign'`),
      bind(join(work, `state-${name}`), '/var/lib/countersign'),
      ...(name === 'b' ? [bind(join(work, 'state-a'), '/exports/var/lib/countersign')] : []),
      ...Object.entries(files).map(([path]) => `cp -p '${join(work, 'files', path)}' '${root}${path}'`),
      `: > '${root}/up'`,
      `exec chroot '${root}' sleep infinity`,
    ].join('\n');
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(work, 'files', path)), { recursive: true });
      writeFileSync(join(work, 'files', path), text, { mode: 0o755 });
    }
    const inside = ['netns', 'exec', network, 'unshare', '-m', '--propagation', 'private', 'bash', '-euc', script];
    const process = spawn('ip', inside, { stdio: ['ignore', 'inherit', 'inherit'] });
    const machine = new Machine(process);
    await until(() => {
      if (process.exitCode !== null) throw new Error(`the machine ${name} did not start`);
      return existsSync(`/proc/${machine.pid}/root/up`);
    });
    return machine;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** What a person types, as root in their home. */
  run(command: string) {
    const enter = ['-t', String(this.pid), '-n', '-m', '-r', '-w'];
    const shell = ['env', '-i', `PATH=${PATH}`, 'HOME=/root', 'bash', '-c', `cd /root && ${command}`];
    return spawnSync('nsenter', [...enter, ...shell], { encoding: 'utf8', timeout: 120_000 });
  }

  /** Ends whatever runs on it. */
  end(): void {
    const own = readlinkSync(`/proc/${this.pid}/ns/mnt`);
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== this.pid))
      if (namespaceOf(pid) === own) process.kill(Number(pid), 'SIGKILL');
    this.#process.kill('SIGKILL');
  }
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

test('the ten commands of the document make an installation of two machines, and a job whose receipt verifies', async () => {
  expect(COMMANDS.map(({ machine }) => machine).join('')).toBe('aaaabbbaaa');
  if (process.getuid?.() !== 0 || !canContain()) return;
  const redis = await findRedisServer(join(ROOT, '.countersign', 'redis-server'), () => undefined);
  const withLibraries = Object.entries(redis.env).map(([name, value]) => `${name}=${value}`);
  const served = redis.path.replace(ROOT.replace(/\/$/, ''), '/opt/countersign');
  const files = {
    ...Object.fromEntries(
      Object.entries(STAND_INS).map(([name, text]) => [`/stand-ins/${name}`, `#!/bin/sh\n${text}\n`]),
    ),
    '/stand-ins/redis-server': `#!/bin/sh\nexec env ${withLibraries.join(' ').replaceAll(ROOT.replace(/\/$/, ''), '/opt/countersign')} ${served} "$@"\n`,
    '/etc/hosts': '127.0.0.1 localhost a b\n',
  };
  const work = mkdtempSync(join(tmpdir(), 'cs-two-'));
  const network = `cs-two-${process.pid}`;
  execFileSync('chmod', ['755', work]);
  for (const name of ['a', 'b']) mkdirSync(join(work, `state-${name}`));
  execFileSync('ip', ['netns', 'add', network]);
  const machines: Machine[] = [];
  try {
    execFileSync('ip', ['-n', network, 'link', 'set', 'lo', 'up']);
    const b = await Machine.start(work, network, 'b', files);
    machines.push(b);
    const a = await Machine.start(work, network, 'a', { ...files, '/peer': String(b.pid) });
    machines.push(a);

    const startedMs = performance.now();
    let job = '';
    let last = '';
    for (const { command = '', machine } of COMMANDS) {
      // The API takes some seconds to start, which a person waits.
      if (command.includes(' submit ')) await until(() => a.run('curl -sf http://a:8181/health/ready').status === 0);
      const done = (machine === 'a' ? a : b).run(command.replace('JOB', job));
      expect([command, done.status, done.stderr]).toEqual([command, 0, '']);
      job = /job_[a-z0-9]+/.exec(done.stdout)?.[0] ?? job;
      last = done.stdout;
    }
    expect(last).toContain('the attestor computed the same answer, byte by byte');
    process.stderr.write(`two machines: ${((performance.now() - startedMs) / 1_000).toFixed(1)} s\n`);
    // Each machine has the folders of its own roles and no others.
    expect(b.run('ls /etc/countersign').stdout.trim().split('\n')).toEqual(['worker-default-1']);
    expect(a.run('ls /etc/countersign').stdout.trim().split('\n')).toEqual(['api', 'attestor', 'courier', 'redis']);
  } finally {
    for (const machine of machines) machine.end();
    execFileSync('ip', ['netns', 'del', network]);
    rmSync(work, { recursive: true, force: true });
  }
});
