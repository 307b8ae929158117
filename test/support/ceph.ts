import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AwsClient } from 'aws4fetch';
import { fixedPort } from './ports.ts';
import { until } from './pipeline.ts';

const run = promisify(execFile);
const PROGRAMS = ['ceph', 'ceph-authtool', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin'];
/** For programs that take ten seconds where nothing else runs. */
const STARTED_MS = 240_000;
const REGION = 'us-east-1';

/** Whether the object gateway of Ceph is installed. Says on standard error where it is not. */
export function hasCeph(): boolean {
  const missing = PROGRAMS.filter((name) => !existsSync(join('/usr/bin', name)));
  if (missing.length > 0)
    process.stderr.write(
      `SKIPPED: nothing was run against S3, since there is no ${missing.join(', ')}; on Debian: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd\n`,
    );
  return missing.length === 0;
}

/** Who may do what: a user of the object gateway and its access key. */
export interface S3User {
  readonly name: string;
  readonly keyFile: string;
}

/**
 * A real server of S3: the object gateway of Ceph over one monitor and one store in memory, on loopback. It
 * is what object storages of many machines run, with one machine.
 */
export class Ceph implements AsyncDisposable {
  readonly url: string;
  readonly region = REGION;
  readonly folder: string;
  readonly #conf: string;
  readonly #processes: ChildProcess[] = [];

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.url = `http://127.0.0.1:${port}`;
    this.#conf = join(folder, 'ceph.conf');
  }

  /** Starts it, with a user `root` who owns the buckets. */
  static async start(): Promise<Ceph> {
    const [port, monitorPort] = [await fixedPort(), await fixedPort()];
    const ceph = new Ceph(mkdtempSync(join(tmpdir(), 'cs-ceph-')), port);
    try {
      await ceph.#startStore(port, monitorPort);
      await ceph.user('root');
      await ceph.startGateway();
      return ceph;
    } catch (error) {
      await ceph[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The variables of a role that keeps its files here with the key of this user. */
  environment(user: S3User, url = this.url): Record<string, string> {
    return {
      COUNTERSIGN_S3_ENDPOINT: url,
      COUNTERSIGN_S3_REGION: REGION,
      COUNTERSIGN_S3_KEY_FILE: user.keyFile,
    };
  }

  async user(name: string): Promise<S3User> {
    const secret = randomUUID();
    const keys = ['--access-key', `AK${name.toUpperCase()}`, '--secret-key', secret];
    await this.#program('radosgw-admin', ['user', 'create', '--uid', name, '--display-name', name, ...keys]);
    const keyFile = join(this.folder, `${name}.s3key`);
    writeFileSync(keyFile, `AK${name.toUpperCase()}\n${secret}\n`, { mode: 0o600 });
    this.#secrets.set(name, secret);
    return { name, keyFile };
  }
  readonly #secrets = new Map<string, string>();

  /** Makes a bucket of the user `root`, and returns its owner. */
  async bucket(name: string, policy?: object): Promise<S3User> {
    await this.request('PUT', name);
    if (policy !== undefined) await this.request('PUT', `${name}?policy`, JSON.stringify(policy));
    return { name: 'root', keyFile: join(this.folder, 'root.s3key') };
  }

  /** Asks as the user `root`; throws where that is refused. */
  async request(method: string, path: string, body?: string): Promise<string> {
    const secretAccessKey = this.#secrets.get('root') ?? '';
    const client = new AwsClient({ accessKeyId: 'AKROOT', secretAccessKey, service: 's3', region: REGION, retries: 0 });
    const answer = await client.fetch(`${this.url}/${path}`, { method, ...(body === undefined ? {} : { body }) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text;
  }

  async startGateway(): Promise<void> {
    this.#spawn('radosgw', ['-n', 'client.admin', '-f']);
    await until(
      () =>
        fetch(this.url).then(
          (answer) => answer.ok,
          () => false,
        ),
      STARTED_MS,
    );
  }

  /** Ends the gateway as a crash does; what is stored stays. */
  async stopGateway(): Promise<void> {
    const gateway = this.#processes.pop();
    await ended(gateway, 'SIGKILL');
  }

  async #startStore(port: number, monitorPort: number): Promise<void> {
    for (const name of ['mon', 'osd', 'run']) mkdirSync(join(this.folder, name));
    writeFileSync(this.#conf, configuration(this.folder, port, monitorPort));
    const keyring = join(this.folder, 'keyring');
    const key = (name: string, ...caps: string[]) =>
      this.#program('ceph-authtool', [
        keyring,
        '--gen-key',
        '-n',
        name,
        ...caps.flatMap((cap) => ['--cap', ...cap.split('=')]),
      ]);
    await this.#program('ceph-authtool', ['--create-keyring', keyring]);
    await key('mon.', 'mon=allow *');
    await key('client.admin', 'mon=allow *', 'osd=allow *');
    await key('osd.0', 'mon=allow profile osd', 'osd=allow *');
    const map = join(this.folder, 'monmap');
    const address = `[v2:127.0.0.1:${monitorPort}]`;
    await this.#program('monmaptool', [
      '--create',
      '--fsid',
      randomUUID(),
      '--addv',
      'a',
      address,
      '--enable-all-features',
      map,
    ]);
    await this.#program('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring]);
    this.#spawn('ceph-mon', ['-i', 'a', '-f']);
    const id = randomUUID();
    await this.#program('ceph', ['osd', 'new', id]);
    await this.#program('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', id]);
    this.#spawn('ceph-osd', ['-i', '0', '-f']);
  }

  async #program(name: string, args: readonly string[]): Promise<void> {
    await run(name, ['-c', this.#conf, ...args], { timeout: STARTED_MS });
  }

  #spawn(name: string, args: readonly string[]): void {
    const output = openSync(join(this.folder, `${name}.out`), 'a');
    this.#processes.push(spawn(name, ['-c', this.#conf, ...args], { stdio: ['ignore', output, output] }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((process) => ended(process, 'SIGKILL')));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await exited;
}

function configuration(folder: string, port: number, monitorPort: number): string {
  return `[global]
mon host = [v2:127.0.0.1:${monitorPort}]
public addr = 127.0.0.1
keyring = ${folder}/keyring
mon data = ${folder}/mon
osd data = ${folder}/osd
run dir = ${folder}/run
admin socket = ${folder}/run/$name.asok
log file = ${folder}/$name.log
crash dir = ${folder}/crash
heartbeat file =
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail crit = 0
rgw rados pool pg num min = 1
rgw frontends = beast endpoint=127.0.0.1:${port}
rgw thread pool size = 16
rgw run sync thread = false
rgw dynamic resharding = false
`;
}
