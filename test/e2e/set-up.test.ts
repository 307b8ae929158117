import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findRedisServer, startPrivateRedis, type PrivateRedis } from '../../src/ground/redis/redis-server.ts';
import { Child } from '../../src/roles/cli/children.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { readKeyring } from '../../src/proof/receipts/keyring-file.ts';
import { OPERATIONS } from '../../src/roles/api/operations.ts';
import { JobDocument } from '../../src/proof/contract/job-document.ts';
import { KJV_MODEL, NOOP_MODEL, Pipeline, completion, until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { longTest, wholeTest } from '../support/thorough.ts';

/** What a role says when it is started and refuses; it must not start. */
async function refusal(
  pipeline: Pipeline,
  role: 'api' | 'worker' | 'attestor',
  change: Record<string, string>,
): Promise<string> {
  const started = pipeline.launch(role, role, { ...pipeline.environment(role), ...change });
  const code = await started.exited;
  expect(code).toBe(2);
  return started
    .stderr()
    .split('\n')
    .filter((line) => /^(error|hint): /.test(line))
    .join('\n');
}

describe('a set-up that is not safe is refused at start, with what to do', () => {
  wholeTest('a wrong Redis: one that evicts, one without a file, and the user of another role', async () => {
    await using evicting = await Pipeline.prepare([NOOP_MODEL], {
      redisConfig: ['maxmemory-policy allkeys-lru', 'appendonly no'],
    });
    const text = await refusal(evicting, 'api', {});
    expect(text).toContain('redis_unfit');
    expect(text).toContain('Set maxmemory-policy noeviction');
    expect(text).toContain('Set appendonly yes');
    await using pipeline = await Pipeline.prepare();
    expect(await refusal(pipeline, 'worker', { COUNTERSIGN_REDIS_USER: 'attestor' })).toContain(
      'must connect as the Redis user "worker.default"',
    );
    expect(await refusal(pipeline, 'attestor', { COUNTERSIGN_REDIS_USER: 'admin' })).toContain(
      'must connect as the Redis user "attestor"',
    );
  });

  longTest('a Redis that is too old: here a new one that says so, through a proxy', async () => {
    await using pipeline = await Pipeline.prepare();
    const path = join(pipeline.folder, 'old.sock');
    const old = createServer((client) => {
      const redis = connect(pipeline.redis.url.slice('unix://'.length));
      client.pipe(redis);
      // As long as what it replaces, so that the lengths in the protocol stay true.
      redis.on('data', (bytes) =>
        client.write(Buffer.from(bytes.toString('latin1').replace(/(?<=redis_version:)\d/, '6'), 'latin1')),
      );
      for (const socket of [client, redis]) {
        socket.on('error', () => undefined);
        socket.on('close', () => [client, redis].forEach((other) => other.destroy()));
      }
    });
    await new Promise<void>((resolve) => old.listen(path, resolve));
    for (const role of ['api', 'worker', 'attestor'] as const)
      expect(await refusal(pipeline, role, { COUNTERSIGN_REDIS_URL: `unix://${path}` })).toMatch(
        /redis_unfit: Redis 6[.\d]*: Use Redis 7\.0 or later/,
      );
    old.close();
  });

  wholeTest('wrong keys, variables, models and ports', async () => {
    await using pipeline = await Pipeline.prepare([KJV_MODEL]);
    const { folder } = pipeline;
    expect(await refusal(pipeline, 'worker', { COUNTERSIGN_LEASEMS: '5000' })).toContain(
      'did you mean COUNTERSIGN_LEASE_MS?',
    );
    expect(
      await refusal(pipeline, 'worker', { COUNTERSIGN_LEASE_MS: '10000', COUNTERSIGN_HEARTBEAT_MS: '9000' }),
    ).toContain('at most a third of COUNTERSIGN_LEASE_MS');
    expect(
      await refusal(pipeline, 'worker', { COUNTERSIGN_ATTESTOR_KEY_FILE: join(folder, 'attestor.key') }),
    ).toContain("another role's key");
    expect(await refusal(pipeline, 'worker', { COUNTERSIGN_WORKER_KEY_FILE: join(folder, 'nothing.key') })).toContain(
      'does not exist',
    );
    chmodSync(join(folder, 'worker-1.key'), 0o644);
    expect(await refusal(pipeline, 'worker', {})).toContain('can be read by other users');
    chmodSync(join(folder, 'worker-1.key'), 0o600);
    expect(await refusal(pipeline, 'attestor', { COUNTERSIGN_ATTESTOR_KEY_FILE: join(folder, 'api.key') })).toContain(
      'nobody would believe its verdicts',
    );
    const absent = { ...KJV_MODEL, file: join(folder, 'absent.gguf') };
    const other = { ...KJV_MODEL, file: join(ROOT, 'models', 'kjv-1m-q4_0.gguf') };
    writeFileSync(join(folder, 'models.json'), JSON.stringify({ version: 1, models: [absent] }));
    expect(await refusal(pipeline, 'worker', {})).toContain('model_file_unfit');
    writeFileSync(join(folder, 'models.json'), JSON.stringify({ version: 1, models: [other] }));
    expect(await refusal(pipeline, 'worker', {})).toContain('and the catalog says');
    writeFileSync(join(folder, 'models.json'), JSON.stringify({ version: 1, models: [NOOP_MODEL] }));
    const taken = createServer();
    const port = await new Promise<number>((resolve) => {
      taken.listen(0, '127.0.0.1', () => {
        const address = taken.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
    expect(await refusal(pipeline, 'api', { COUNTERSIGN_PORT: String(port) })).toContain('port_taken');
    taken.close();
  });
});

describe('separation', () => {
  wholeTest(
    "the built worker runs and does jobs from a copy of the build without the attestor's code and without the command line",
    async () => {
      const copy = mkdtempSync(join(tmpdir(), 'cs-dist-'));
      try {
        cpSync(join(ROOT, 'dist'), join(copy, 'dist'), { recursive: true });
        cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'));
        symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
        for (const name of ['roles/attestor', 'roles/api', 'roles/cli', 'core/confirmation'])
          rmSync(join(copy, 'dist', name), { recursive: true });
        await using confined = await Pipeline.prepare([NOOP_MODEL], { dist: join(copy, 'dist') });
        const worker = await confined.worker(1);
        expect(worker.facts['ready']).toBe(true);
        // Its program is one file, made of what it imports.
        const { sources } = JSON.parse(readFileSync(join(copy, 'dist/roles/worker/main.js.map'), 'utf8')) as {
          sources: string[];
        };
        const madeOf = (folder: string) => sources.filter((file) => file.includes(`/src/${folder}/`));
        expect(madeOf('core/execution').length).toBeGreaterThan(5);
        for (const folder of ['roles/attestor', 'roles/api', 'roles/cli', 'core/confirmation'])
          expect(madeOf(folder)).toEqual([]);
      } finally {
        rmSync(copy, { recursive: true, force: true });
      }
    },
  );

  wholeTest('the description has every route that the server has, and real answers fit its schemas', async () => {
    await using pipeline = await Pipeline.start();
    const client = await pipeline.client();
    const document = (await (await fetch(`${pipeline.url}/docs/openapi.json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(described.sort()).toEqual(OPERATIONS.map(({ method, path }) => `${method} ${path}`).sort());
    const controllers = readdirSync(join(ROOT, 'src', 'roles', 'api'))
      .filter((name) => name.endsWith('.controller.ts'))
      .map((name) => readFileSync(join(ROOT, 'src', 'roles', 'api', name), 'utf8'))
      .join('\n');
    expect(controllers.match(/@(Get|Post|Put|Patch|Delete)\(/g)).toHaveLength(OPERATIONS.length);
    expect(JobDocument.parse(await client.run(completion('fits'))).state).toBe('done');
    for (const { method, path } of OPERATIONS) {
      const response = await client.fetch(
        path.replace('{id}', 'job_000000000000000000000000000000').replace('{path}', '0/000.p/1'),
        {
          method: method.toUpperCase(),
        },
      );
      if (response.headers.get('content-type')?.startsWith('text/event-stream') === true) {
        await response.body?.cancel();
        continue;
      }
      const body = await response.text();
      const unrouted = response.status === 404 && body.includes('"code":"route_not_found"');
      if (path !== '/') expect([path, unrouted]).toEqual([path, false]);
    }
  });
});

describe('npm start', () => {
  const data = mkdtempSync(join(tmpdir(), 'cs-start-'));
  const env = { PATH: process.env['PATH'] ?? '', HOME: data, COUNTERSIGN_DATA: data };
  const cli = (...args: string[]) =>
    spawnSync(process.execPath, [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), ...args], { env, encoding: 'utf8' });
  /** What the first start said. */
  let first: { job: string; receipt: string } | undefined;
  let up: ChildProcess | undefined;

  beforeAll(() => {
    // The extracted Redis of this checkout, so that the test fetches nothing.
    if (existsSync(join(ROOT, '.countersign', 'redis-server')))
      cpSync(join(ROOT, '.countersign', 'redis-server'), join(data, 'redis-server'), { recursive: true });
  });
  afterAll(() => {
    // Only what a failed expectation left running; the roles end with it.
    up?.kill('SIGKILL');
    rmSync(data, { recursive: true, force: true });
  });

  test('--once --json runs one confirmed job, leaves a receipt that verifies and no process', () => {
    const started = spawnSync(process.execPath, [join(ROOT, 'scripts', 'start.mjs'), '--once', '--json'], {
      env,
      encoding: 'utf8',
      timeout: 240_000,
    });
    expect([started.status, started.stderr.split('\n').filter((line) => line.startsWith('error'))]).toEqual([0, []]);
    const result = JSON.parse(started.stdout.trim().split('\n').at(-1) ?? '') as {
      job: string;
      state: string;
      receipt: string;
      verified: boolean;
      checks: string[];
      ms: number;
    };
    expect(result).toMatchObject({ state: 'done', verified: true });
    expect(result.checks.length).toBeGreaterThan(10);
    verifyReceipt(readFileSync(result.receipt), readKeyring(join(data, 'keyring.json')));
    expect(statSync(join(data, 'dev.key')).mode & 0o777).toBe(0o600);
    const verified = cli('verify', result.receipt, '--json');
    expect([verified.status, (JSON.parse(verified.stdout) as { verified: boolean }).verified]).toEqual([0, true]);
    const tampered = join(data, 'tampered.json');
    writeFileSync(tampered, readFileSync(result.receipt, 'utf8').replace('"log":{', '"log": {'));
    const refused = cli('verify', tampered);
    expect([refused.status, refused.stdout, refused.stderr.startsWith('error: receipt_refused: malformed: ')]).toEqual([
      7,
      '',
      true,
    ]);
    expect(cli('get', result.job).stderr).toContain('hint: start one with: countersign up');
    expect(cli('acl', '--commands').stdout).toContain('ACL SETUSER worker.default reset on');
    // It is an ACL file: what the server was started with, line by line.
    const users = cli('acl').stdout.trim().split('\n');
    expect(users).toEqual(
      readFileSync(join(data, 'redis', 'users.acl'), 'utf8')
        .trim()
        .split('\n'),
    );
    expect(users.filter((line) => line.startsWith('user admin on '))).toHaveLength(1);
    expect(leftProcesses()).toEqual([]);
    first = result;
  });

  wholeTest('started again it finds its jobs again, and the commands submit, follow and show one', async () => {
    const running = spawn(process.execPath, [join(ROOT, 'scripts', 'start.mjs'), '--port', '0'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    up = running;
    let said = '';
    running.stdout.on('data', (piece: Buffer) => {
      said += piece.toString();
    });
    await until(() => said.includes('running until Ctrl-C'));
    const listed = JSON.parse(cli('list', '--json').stdout) as { jobs: { id: string; state: string }[] };
    expect(listed.jobs.map((job) => job.id)).toContain(first?.job);
    const submitted = cli('submit', 'And God said', '--max-tokens', '8', '--wait', '30');
    expect([submitted.status, submitted.stderr]).toEqual([0, '']);
    const [id = ''] = submitted.stdout.split(' ');
    expect(submitted.stdout).toMatch(/^job_[0-9a-z]{30} {2}done\n\{"text":".*","finish_reason":"(length|stop)"\}\n$/);
    const watched = cli('watch', id, '--json').stdout.trim().split('\n');
    const states = watched
      .map((line) => JSON.parse(line) as { event: string; state?: string })
      .filter(({ event }) => event === 'state');
    expect(states.map(({ state }) => state)).toEqual(['queued', 'running', 'attesting', 'done']);
    expect(cli('cancel', id).stdout).toBe('already_final  (done)\n');
    expect(cli('get', id).stdout).toMatch(new RegExp(`^${id}  done  kjv-1m  `));
    const unknown = cli('get', 'job_000000000000000000000000000000');
    expect([unknown.status, unknown.stderr]).toEqual([3, 'error: job_not_found: There is no job with this id.\n']);
  });

  wholeTest('the commands look after schedules, keys and the log', async () => {
    const later = ['--cron', '0 8 * * 1-5', '--timezone', 'Europe/Berlin', '--end', '2099-01-01T00:00:00Z'];
    const noted = ['--name', 'mornings', '--metadata', 'team=a', '--overlap', 'queue', '--catch-up', 'newest'];
    const added = cli('schedules', 'add', 'And God said', '--max-tokens', '4', ...later, ...noted);
    expect([added.status, added.stderr]).toEqual([0, '']);
    const [schedule = ''] = added.stdout.split(' ');
    expect(added.stdout).toMatch(
      /^sched_\w+ {2}active {2}"0 8 \* \* 1-5" Europe\/Berlin {2}kjv-1m {2}\S+Z {2}mornings\n {2}overlap queue, catch up newest(, .*)?\n( {2}next \S+Z\n)+$/,
    );
    expect(cli('schedules', 'list').stdout).toMatch(
      new RegExp(`^${schedule}  active .*\n1 of at most \\d+ schedules\n$`),
    );
    expect(cli('schedules', 'pause', schedule).stdout).toContain(`${schedule}  paused  `);
    expect(cli('schedules', 'resume', schedule).stdout).toContain(`${schedule}  active  `);
    const shown = JSON.parse(cli('schedules', 'show', schedule, '--json').stdout) as unknown;
    expect(shown).toMatchObject({ id: schedule, metadata: { team: 'a' }, overlap: 'queue', runs: [] });
    const unfit = cli('schedules', 'add', 'x', '--cron', '61 * * * *');
    expect([unfit.status, unfit.stdout, unfit.stderr.startsWith('error: request_invalid: ')]).toEqual([2, '', true]);
    expect(cli('schedules', 'add', 'x', '--cron', '@daily', '--start', 'soon').status).toBe(2);
    expect(cli('schedules', 'remove', schedule).stdout).toBe(`removed ${schedule}\n`);
    expect(cli('schedules', 'show', schedule).stderr).toMatch(/^error: schedule_not_found: /);
    const made = JSON.parse(cli('keys', 'api', 'create', '--tenant', 'acme', '--new-tenant', '--json').stdout) as {
      id: string;
      key: string;
    };
    expect(cli('keys', 'api', 'list').stdout).toContain(`${made.id}  acme  submit,read  valid`);
    expect(cli('keys', 'api', 'revoke', made.id).stdout).toBe(
      `revoked ${made.id}; what it made: countersign keys api work ${made.id}\n`,
    );
    const served = `${readFileSync(join(data, 'api.url'), 'utf8').trim()}/log`;
    const kept = join(data, 'kept.checkpoint');
    // Three jobs, and what their verdicts rest on: list of workers, keyring, calibration, the draws of two
    // days; and heads of the audit log.
    expect(cli('log', 'audit', '--url', served, '--kept', kept).stdout).toMatch(
      /^sound {6}countersign\.local\/log\/[0-9a-f]{16}\n {2}entries {2}\d{1,2}, in 1 bundles and 1 tiles\n {2}root {5}[0-9a-f]{64}\n$/,
    );
    expect(cli('log', 'audit', '--url', served, '--kept', kept).stdout).toMatch(
      / {2}goes on {2}from the \d{1,2} entries that were kept\n/,
    );
    expect((await fetch(`${served}/checkpoint`)).headers.get('cache-control')).toBe('no-cache');
    const tile = await fetch(`${served}/tile/entries/000.p/2`);
    expect(tile.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    const doctor = JSON.parse(cli('doctor', '--json').stdout) as { ok: boolean };
    expect(doctor.ok).toBe(true);
  });

  wholeTest('Ctrl-C ends it and leaves no process; a tile that was changed afterwards is found', async () => {
    const running = up;
    if (running === undefined) throw new Error('it was not started');
    const kept = join(data, 'kept.checkpoint');
    const exited = new Promise<number | null>((resolve) => running.once('exit', resolve));
    running.kill('SIGINT');
    expect(await exited).toBe(0);
    expect(leftProcesses()).toEqual([]);
    expect(existsSync(join(data, 'up.pid'))).toBe(false);
    expect(cli('log', 'audit', '--kept', kept).status).toBe(0);
    const folder = join(data, 'log', 'tile', '0', '000.p');
    const [size = ''] = readdirSync(folder);
    writeFileSync(join(folder, size), Buffer.alloc(32 * Number(size)));
    const unsound = cli('log', 'audit', '--json');
    expect([unsound.status, JSON.parse(unsound.stdout)]).toEqual([
      7,
      { sound: false, detail: `The tile tile/0/000.p/${size} is not that of its entries.` },
    ]);
  });

  /** The command lines that still name the data folder. */
  function leftProcesses(): string[] {
    return spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter((line) => line.includes(data));
  }
});

describe('an installation that init made', () => {
  longTest(
    'starts as it stands, takes its first key in once for all, does a job, and is well by doctor on every machine',
    async () => {
      await using house = await Installation.start();
      const { admin } = house;
      const submitted = house.cli(
        admin,
        'submit',
        'And God said',
        '--model',
        'kjv-1m',
        '--max-tokens',
        '4',
        '--wait',
        '60',
      );
      expect([submitted.status, submitted.stderr]).toEqual([0, '']);
      expect(submitted.stdout).toContain('  done\n');

      // On four machines and as administrator, at the same time.
      const doctors = await Promise.all([
        ...['api', 'courier', 'attestor', 'worker-default-1'].map((folder) =>
          house.doctor(house.environments.get(folder) ?? {}),
        ),
        house.doctor(admin, '--all'),
      ]);
      expect(doctors.flatMap(({ findings }) => findings.filter(({ ok }) => !ok))).toEqual([]);
      expect(doctors.map(({ findings }) => findings[0]?.found)).toEqual([
        ...['api', 'courier', 'attestor', 'worker'].map((role) => `the environment of a role: ${role}`),
        "the administrator's environment",
      ]);
      expect(doctors.at(-1)?.findings.map(({ what }) => what)).toContain('model kjv-1m: confirmed by recompute');

      // Every role serves its metrics; the courier has entered the end of the job.
      const ends = await until(async () => {
        const text = await (await fetch(`${house.metrics('courier')}/metrics`)).text();
        return text.includes('countersign_job_ends_total{state="done"} 1') && text;
      });
      expect(ends).toContain('countersign_job_confirm_seconds_count 1');
      for (const folder of ['attestor', 'worker-default-1'])
        expect((await fetch(`${house.metrics(folder)}/health`)).status).toBe(200);

      const keys = () =>
        (
          JSON.parse(house.cli(admin, 'keys', 'api', 'list', '--json').stdout) as {
            keys: { id: string; revokedAt?: string }[];
          }
        ).keys;
      const [first] = keys();
      expect(house.cli(admin, 'keys', 'api', 'revoke', first?.id ?? '').status).toBe(0);
      await house.restart('api');
      expect(keys().map(({ id, revokedAt }) => [id, typeof revokedAt])).toEqual([[first?.id, 'string']]);
    },
  );
});

/** An installation of `init`, with the paths of this machine. */
class Installation {
  readonly environments = new Map<string, Record<string, string>>();
  admin: Record<string, string> = {};
  readonly #folder = mkdtempSync(join(tmpdir(), 'cs-init-'));
  readonly #children = new Map<string, { child: Child; facts: Record<string, unknown> }>();
  #redis: PrivateRedis | undefined;

  static async start(): Promise<Installation> {
    const house = new Installation();
    try {
      await house.#start();
      return house;
    } catch (error) {
      await house[Symbol.asyncDispose]();
      throw error;
    }
  }

  cli(env: Record<string, string>, ...args: string[]) {
    return spawnSync(process.execPath, [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), ...args], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.#folder, ...env },
      cwd: this.#folder,
      encoding: 'utf8',
    });
  }

  /** What doctor finds under an environment. */
  async doctor(env: Record<string, string>, ...args: string[]) {
    const program = join(ROOT, 'dist', 'roles', 'cli', 'main.js');
    const child = spawn(process.execPath, [program, 'doctor', '--json', ...args], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.#folder, ...env },
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (piece: Buffer) => (said += piece.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    return JSON.parse(said) as { findings: { what: string; ok: boolean; found: string }[] };
  }

  metrics(folder: string): string {
    return String(this.#children.get(folder)?.facts['metrics']);
  }

  async restart(folder: string): Promise<void> {
    await this.#children.get(folder)?.child.stop();
    await this.#launch(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#children.values()].map(({ child }) => child.stop()));
    await this.#redis?.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #start(): Promise<void> {
    const catalog = join(this.#folder, 'models.json');
    writeFileSync(catalog, JSON.stringify({ version: 1, models: [KJV_MODEL] }));
    const made = join(this.#folder, 'made');
    const redisFolder = join(this.#folder, 'redis');
    const redisUrl = `unix://${join(redisFolder, 'redis.sock')}`;
    const init = this.cli(
      {},
      'init',
      made,
      '--yes',
      '--catalog',
      catalog,
      '--workers',
      'default=1',
      '--redis-url',
      redisUrl,
    );
    expect([init.status, init.stderr, init.stdout.trim().split('\n').length]).toEqual([0, '', 10]);
    const admin = this.#variables(join(made, 'admin', 'admin.env'));
    // The server's first line about users is the one that every server of ours begins with.
    const [, ...users] = readFileSync(join(made, 'redis', 'users.acl'), 'utf8')
      .trim()
      .split('\n');
    const password = readFileSync(admin['COUNTERSIGN_REDIS_PASSWORD_FILE'] ?? '', 'utf8').trim();
    const program = await findRedisServer(join(ROOT, '.countersign', 'redis-server'), () => undefined);
    const login = { user: 'admin', password };
    this.#redis = await startPrivateRedis({ program, folder: redisFolder, users: users.join('\n'), admin: login });
    for (const folder of ['api', 'attestor', 'worker-default-1', 'courier']) {
      const role = folder.split('-')[0] ?? '';
      const variables = this.#variables(join(made, folder, `${role}.env`));
      this.environments.set(folder, variables);
      await this.#launch(folder);
    }
    this.admin = { ...admin, COUNTERSIGN_URL: String(this.#children.get('api')?.facts['url']) };
  }

  /** The variables of a file, with the paths of this machine and free ports. */
  #variables(file: string): Record<string, string> {
    const text = readFileSync(file, 'utf8')
      .replaceAll('/etc/countersign/', `${this.#folder}/made/`)
      .replaceAll('/var/lib/countersign/', `${this.#folder}/made/data/`)
      .replace(/(?<=_PORT=)\d+/g, '0')
      .replace('0.0.0.0', '127.0.0.1');
    return Object.fromEntries(
      text
        .trim()
        .split('\n')
        .map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]),
    );
  }

  async #launch(folder: string): Promise<void> {
    // The catalog names the weights where a worker finds them.
    for (const file of ['models.json']) {
      const path = join(this.#folder, 'made', folder, file);
      writeFileSync(
        path,
        readFileSync(path, 'utf8').replaceAll('/var/lib/countersign/models', `${this.#folder}/made/models`),
      );
    }
    const role = folder.split('-')[0] as 'api' | 'worker' | 'attestor' | 'courier';
    const spec = {
      name: folder,
      role,
      env: this.environments.get(folder) ?? {},
      logFile: join(this.#folder, `${folder}.log`),
    };
    const child = new Child(spec, () => undefined, join(ROOT, 'dist', 'roles', role, 'main.js'));
    this.#children.set(folder, { child, facts: await child.start() });
  }
}
