import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { parseYaml } from '@redocly/openapi-core';
import { z } from 'zod';
import { readJoinToken } from '../../src/core/registry/invitation.ts';
import { openWorkerList } from '../../src/core/registry/worker-list.ts';
import { loadConfig } from '../../src/ground/config/load-config.ts';
import { readSigningKey } from '../../src/ground/keys/key-file.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { readKeyring } from '../../src/proof/receipts/keyring-file.ts';
import { ApiConfig } from '../../src/roles/api/api-config.ts';
import { AttestorConfig } from '../../src/roles/attestor/attestor-config.ts';
import { composeFile } from '../../src/roles/cli/compose-file.ts';
import { writeInstallation, type CatalogText } from '../../src/roles/cli/installation-files.ts';
import { InstallationPlan } from '../../src/roles/cli/installation-plan.ts';
import { registrarEnvironment } from '../../src/roles/cli/role-environments.ts';
import { CourierConfig } from '../../src/roles/courier/courier-config.ts';
import { GatewayConfig } from '../../src/roles/gateway/gateway-config.ts';
import { WorkerConfig } from '../../src/roles/worker/worker-config.ts';
import { readBootstrap } from '../../src/surfaces/tenants/bootstrap.ts';
import { parseApiKey } from '../../src/surfaces/tenants/api-key.ts';
import { ROOT } from '../support/redis.ts';

const base = mkdtempSync(join(tmpdir(), 'cs-init-'));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let made = 0;
const fresh = () => join(base, `i${(made += 1)}`);

const OWNER = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;

function plan(changes: Partial<InstallationPlan> = {}): InstallationPlan {
  return InstallationPlan.parse({
    version: 1,
    pools: [
      { name: 'default', workers: 2, gpu: false, outside: false },
      { name: 'gpu', workers: 2, gpu: true, outside: true },
    ],
    attestorOutside: true,
    redisUrl: 'redis://redis:6379',
    url: 'http://127.0.0.1:8181',
    shard: 'cs',
    witnesses: [],
    operator: 'local',
    tenant: 'first',
    owner: OWNER,
    program: '/opt/countersign',
    ...changes,
  });
}

const withGateways = () => plan({ pools: plan().pools.map((pool) => ({ ...pool, gateway: true })) });

const SHA256 = '0'.repeat(64);
const catalog: CatalogText = {
  folder: ROOT,
  json: {
    version: 1,
    models: [
      {
        name: 'kjv',
        pool: 'default',
        tasks: ['chat'],
        engine: 'llama',
        file: 'models/kjv-1m-q8_0.gguf',
        sha256: SHA256,
      },
      { name: 'big', pool: 'gpu', tasks: ['chat'], engine: 'openai', baseUrl: 'http://10.0.0.7', sha256: SHA256 },
    ],
  },
};

const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort();

const contentsOf = (folder: string): Record<string, string> =>
  Object.fromEntries(filesOf(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]));

const environmentOf = (path: string): Record<string, string> =>
  Object.fromEntries(
    readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );

describe('an installation that init writes', () => {
  test('has for each role an environment that the role accepts, and every file that this names', () => {
    const folder = fresh();
    writeInstallation(folder, withGateways(), catalog);
    const schemas = {
      api: ApiConfig,
      courier: CourierConfig,
      attestor: AttestorConfig,
      worker: WorkerConfig,
      gateway: GatewayConfig,
    };
    const seen = new Set<string>();
    for (const file of filesOf(folder).filter((name) => name.endsWith('.env') && !name.startsWith('admin'))) {
      const role = z.enum(['api', 'courier', 'attestor', 'worker', 'gateway']).parse(basename(file, '.env'));
      seen.add(role);
      const environment = environmentOf(join(folder, file));
      loadConfig(schemas[role], environment);
      for (const value of Object.values(environment))
        if (value.startsWith('/etc/countersign/'))
          expect(filesOf(folder)).toContain(value.slice('/etc/countersign/'.length));
    }
    expect([...seen].sort()).toEqual(['api', 'attestor', 'courier', 'gateway', 'worker']);
  });

  test('keeps what roles share in S3 where that is asked for, each with a key of its own to be written', () => {
    const folder = fresh();
    const objects = { place: 's3://bucket/prefix', endpoint: 'http://ceph:7480', region: 'eu-1' };
    writeInstallation(folder, plan({ ...withGateways(), objects }), catalog);
    expect(environmentOf(join(folder, 'attestor', 'attestor.env'))).toMatchObject({
      COUNTERSIGN_BLOBS: 's3://bucket/prefix/blobs',
      COUNTERSIGN_TLOG: 's3://bucket/prefix/log',
      COUNTERSIGN_S3_ENDPOINT: 'http://ceph:7480',
      COUNTERSIGN_S3_REGION: 'eu-1',
      COUNTERSIGN_S3_KEY_FILE: '/etc/countersign/attestor/s3.key',
    });
    for (const worker of ['worker-gpu-1/worker.env', 'gateway-gpu/gateway.env'])
      expect(environmentOf(join(folder, worker))['COUNTERSIGN_BLOBS']).toBe('s3://bucket/prefix/blobs/pools/gpu');
    const { services } = Compose.parse(parseYaml(readFileSync(join(folder, 'compose.yaml'), 'utf8')));
    for (const [name, { volumes, networks }] of Object.entries(services)) {
      if (name === 'redis') continue;
      expect(volumes.filter((volume) => volume.includes('/data/'))).toEqual([]);
      // The server is reached over the network.
      expect(networks).toEqual(expect.arrayContaining([expect.stringMatching(/^(public|outside)$/)]));
    }
    expect(readFileSync(join(folder, 'systemd', 'countersign-api.service'), 'utf8')).toContain('ReadWritePaths=\n');
    // What was written into a key's file stays.
    writeFileSync(join(folder, 'api', 's3.key'), 'id\nsecret\n');
    writeInstallation(folder, plan({ ...withGateways(), objects }), catalog);
    expect(readFileSync(join(folder, 'api', 's3.key'), 'utf8')).toBe('id\nsecret\n');
    expect(() => writeInstallation(folder, withGateways(), catalog)).toThrow('objects');
  });

  test('lets all of its processes stand on one machine, also after workers and a pool were added', () => {
    const folder = fresh();
    const ports = () =>
      filesOf(folder)
        .filter((name) => name.endsWith('.env') && !name.startsWith('admin'))
        .map((name): [string, string | undefined] => {
          const { COUNTERSIGN_METRICS_PORT: metrics, COUNTERSIGN_PORT: port } = environmentOf(join(folder, name));
          return [name, metrics ?? port];
        });
    writeInstallation(folder, plan(), catalog);
    const before = ports();
    expect(new Set(before.map(([, port]) => port)).size).toBe(before.length);
    const [first, second] = plan().pools;
    if (first === undefined || second === undefined) throw new Error('the plan has two pools');
    const more = { pools: [{ ...first, workers: 5 }, second, { ...second, name: 'third', gpu: false }] };
    const models = [...catalog.json.models, { ...catalog.json.models[1], name: 'large', pool: 'third' }];
    writeInstallation(folder, plan(more), { ...catalog, json: { ...catalog.json, models } });
    const after = ports();
    expect(new Set(after.map(([, port]) => port)).size).toBe(before.length + 5);
    expect(after).toEqual(expect.arrayContaining(before));
  });

  test('gives each role its own secrets and no others, which nobody else may read', () => {
    const folder = fresh();
    writeInstallation(folder, plan(), catalog);
    const secrets = (of: string) => filesOf(join(folder, of)).filter((name) => /\.(key|password)$/.test(name));
    expect(secrets('api')).toEqual(['redis.password', 'secrets.key', 'ticket.key']);
    expect(secrets('courier')).toEqual(['redis.password', 'secrets.key', 'ticket.key']);
    expect(secrets('attestor')).toEqual(['attestor.key', 'log.key', 'redis.password']);
    expect(secrets('worker-gpu-2')).toEqual(['redis.password', 'worker.key']);
    const publicFiles = /(^|\/)(keyring|models|workers)\.json$|compose\.yaml$|\.service$|\.gguf$|^place\.sh$/;
    for (const name of filesOf(folder))
      if (!publicFiles.test(name)) expect([name, statSync(join(folder, name)).mode & 0o077]).toEqual([name, 0]);
  });

  test('has a key of its own for each worker, on a list that the registry signed for its pool', () => {
    const folder = fresh();
    writeInstallation(folder, plan(), catalog);
    const keyring = readKeyring(join(folder, 'attestor', 'keyring.json'));
    const { list } = openWorkerList(
      readFileSync(join(folder, 'attestor', 'workers.json'), 'utf8'),
      keyring.of('registry'),
    );
    const workers = ['worker-default-1', 'worker-default-2', 'worker-gpu-1', 'worker-gpu-2'];
    const ids = workers.map((name) => workerIdOf(readSigningKey(join(folder, name, 'worker.key')).public));
    expect(new Set(ids).size).toBe(4);
    expect(list.workers.map(({ id, pools }) => [id, pools[0]])).toEqual(
      ids.map((id, at) => [id, at < 2 ? 'default' : 'gpu']),
    );
    expect(keyring.logPolicy.logs).toHaveLength(1);
  });

  test('for workers that are started in numbers: a token, who lets them in, and one list for both sides', () => {
    const folder = fresh();
    writeInstallation(folder, plan(), catalog);
    const listed = readFileSync(join(folder, 'admin', 'workers.json'), 'utf8');
    const invited = plan({ pools: plan().pools.map((pool) => ({ ...pool, invited: 16 })) });
    writeInstallation(folder, invited, catalog);
    // Those that were enrolled before stay, and the list has moved to where attestors see it change.
    expect(readFileSync(join(folder, 'list', 'workers.json'), 'utf8')).toBe(listed);
    expect(filesOf(folder)).not.toContain('admin/workers.json');
    for (const pool of ['default', 'gpu']) {
      const environment = environmentOf(join(folder, `join-${pool}`, 'worker.env'));
      expect(loadConfig(WorkerConfig, environment).COUNTERSIGN_POOL).toBe(pool);
      const { invitation } = readJoinToken(readFileSync(join(folder, `join-${pool}`, 'join.token'), 'utf8'));
      const path = join(folder, 'list', 'invitations', `${invitation}.json`);
      expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pool, uses: 16 });
    }
    const attestor = environmentOf(join(folder, 'attestor', 'attestor.env'));
    expect(attestor['COUNTERSIGN_ENROLLED_WORKERS']).toBe('/etc/countersign/list/workers.json');
    for (const value of Object.values(registrarEnvironment(invited)).filter((one) => one.startsWith('/etc/')))
      expect([value, existsSync(join(folder, value.slice('/etc/countersign/'.length)))]).toEqual([value, true]);
    // Given again it changes nothing; with another number, the token stays and lets in so many.
    const before = contentsOf(folder);
    writeInstallation(folder, invited, catalog);
    expect(contentsOf(folder)).toEqual(before);
    writeInstallation(folder, plan({ pools: invited.pools.map((pool) => ({ ...pool, invited: 99 })) }), catalog);
    const changed = Object.entries(contentsOf(folder)).filter(([name, text]) => before[name] !== text);
    expect(changed.map(([name]) => name.replace(/[0-9a-f]{16}/, '*')).sort()).toEqual([
      'installation.json',
      'list/invitations/*.json',
      'list/invitations/*.json',
    ]);
  });

  test('begins with a tenant and a key whose text is with the administrator alone', () => {
    const folder = fresh();
    writeInstallation(folder, plan(), catalog);
    const text = readFileSync(join(folder, 'admin', 'dev.key'), 'utf8').trim();
    const { tenant, key } = readBootstrap(join(folder, 'api', 'bootstrap.json'));
    expect([tenant, { keyId: key.id, hash: key.hash }]).toEqual(['first', parseApiKey(text)]);
    for (const [name, content] of Object.entries(contentsOf(folder)))
      if (!name.startsWith('admin/')) expect(content).not.toContain(text);
  });
});

describe('init, given again', () => {
  test('after a crash before any of its files makes what is missing and changes no secret that was there', () => {
    const whole = fresh();
    writeInstallation(whole, plan(), catalog);
    const before = contentsOf(whole);
    const isSecret = (name: string) => /\.(key|password)$/.test(name);
    for (const gone of Object.keys(before)) {
      if (gone === 'installation.json') continue;
      rmSync(join(whole, gone));
      writeInstallation(whole, plan(), catalog);
      const after = contentsOf(whole);
      expect(Object.keys(after)).toEqual(Object.keys(before));
      for (const name of Object.keys(before))
        if (isSecret(name) && name !== gone && !isCopyOf(name, gone))
          expect([gone, after[name]]).toEqual([gone, before[name]]);
      // What stands beside a new secret follows it, as after a crash before it was first made.
      rmSync(whole, { recursive: true });
      restore(whole, before);
    }
  });

  test('without a change changes nothing, and with more workers adds them to those that were enrolled', () => {
    const folder = fresh();
    writeInstallation(folder, plan(), catalog);
    const before = contentsOf(folder);
    writeInstallation(folder, plan(), catalog);
    expect(contentsOf(folder)).toEqual(before);
    const more = plan().pools.map((pool) => ({ ...pool, workers: 3 }));
    writeInstallation(folder, plan({ pools: more }), catalog);
    const keyring = readKeyring(join(folder, 'admin', 'keyring.json'));
    const { list } = openWorkerList(
      readFileSync(join(folder, 'admin', 'workers.json'), 'utf8'),
      keyring.of('registry'),
    );
    expect([list.serial, list.workers.length]).toEqual([2, 6]);
    expect(() => writeInstallation(folder, plan(), catalog)).toThrow('workers of default, workers of gpu');
    expect(() => writeInstallation(folder, plan({ pools: more, shard: 'other' }), catalog)).toThrow('shard');
  });

  test('refuses a folder in which something else is, and leaves it as it was', () => {
    const folder = fresh();
    mkdirSync(folder);
    writeFileSync(join(folder, 'thesis.txt'), 'words');
    expect(() => writeInstallation(folder, plan(), catalog)).toThrow('is not empty');
    expect(contentsOf(folder)).toEqual({ 'thesis.txt': 'words' });
  });
});

/** Whether a file is made from another, and so follows it. */
function isCopyOf(name: string, gone: string): boolean {
  const ofRole =
    /^(api|courier|attestor|worker-[^/]+)\/redis\.password$/.test(name) && gone.startsWith('admin/keys/redis-');
  return ofRole || (/^api\/(secrets|ticket)\.key$/.test(gone) && name === gone.replace('api', 'courier'));
}

function restore(folder: string, contents: Record<string, string>): void {
  for (const [name, content] of Object.entries(contents)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content, { mode: 0o600 });
  }
}

const Service = z.strictObject({
  image: z.string(),
  build: z.strictObject({ context: z.string(), target: z.enum(['full', 'worker']) }).optional(),
  restart: z.literal('unless-stopped'),
  user: z.string(),
  read_only: z.literal(true),
  cap_drop: z.tuple([z.literal('ALL')]),
  security_opt: z.tuple([z.literal('no-new-privileges:true')]),
  command: z.array(z.string()).min(1),
  env_file: z.array(z.string()).optional(),
  tmpfs: z.array(z.string()).optional(),
  volumes: z.array(z.string().regex(/^[^:]+:\/[^:]+(:ro)?$/)),
  networks: z.array(z.string()).min(1),
  ports: z.array(z.string().regex(/^127\.0\.0\.1:\d+:\d+$/)).optional(),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.literal('service_healthy') })).optional(),
  healthcheck: z.strictObject({
    test: z.array(z.string()).min(2),
    interval: z.string().regex(/^\d+s$/),
    timeout: z.string().regex(/^\d+s$/),
    retries: z.number().int(),
    start_period: z.string().regex(/^\d+s$/),
  }),
  stop_grace_period: z.string().optional(),
  deploy: z
    .strictObject({
      resources: z.strictObject({
        reservations: z.strictObject({
          devices: z.array(
            z.strictObject({
              driver: z.literal('nvidia'),
              device_ids: z.array(z.string()),
              capabilities: z.tuple([z.literal('gpu')]),
            }),
          ),
        }),
      }),
    })
    .optional(),
});
const Compose = z.strictObject({
  name: z.string(),
  services: z.record(z.string(), Service),
  networks: z.record(z.string(), z.strictObject({ internal: z.literal(true).optional() })),
});

describe('the compose file', () => {
  test('has fields that compose knows, names what is there, and runs each role as the owner of its files', () => {
    const folder = fresh();
    writeInstallation(folder, plan(), catalog);
    const { services, networks } = Compose.parse(parseYaml(readFileSync(join(folder, 'compose.yaml'), 'utf8')));
    expect(Object.keys(services)).toEqual([
      'redis',
      'api',
      'courier',
      'attestor',
      'worker-default-1',
      'worker-default-2',
      'worker-gpu-1',
      'worker-gpu-2',
    ]);
    for (const service of Object.values(services)) {
      expect(service.user).toBe(OWNER);
      for (const network of service.networks) expect(Object.keys(networks)).toContain(network);
      for (const name of Object.keys(service.depends_on ?? {})) expect(Object.keys(services)).toContain(name);
      for (const path of [...service.volumes.map((volume) => volume.split(':')[0] ?? ''), ...(service.env_file ?? [])])
        expect([path, statSync(join(folder, path)).uid]).toEqual([path, process.getuid?.()]);
    }
  });

  test('lets out the workers that ask a server, gives GPUs to those that have one, one each, and no others', () => {
    const folder = fresh();
    writeInstallation(folder, plan(), catalog);
    const { services, networks } = Compose.parse(parseYaml(readFileSync(join(folder, 'compose.yaml'), 'utf8')));
    const isOutside = (name: string) =>
      services[name]?.networks.some((network) => networks[network]?.internal !== true);
    expect(['worker-default-1', 'worker-gpu-1', 'redis', 'api'].map(isOutside)).toEqual([false, true, false, true]);
    const gpus = (name: string) => services[name]?.deploy?.resources.reservations.devices[0]?.device_ids;
    expect(['worker-default-1', 'worker-gpu-1', 'worker-gpu-2'].map(gpus)).toEqual([undefined, ['0'], ['1']]);
  });

  test('shows a worker neither the secrets of another role nor the answers of another pool', () => {
    const { services } = Compose.parse(
      parseYaml(composeFile(plan(), { folder: '.', source: '.', owner: '1:1', header: [] })),
    );
    expect(services['worker-gpu-1']?.volumes).toEqual([
      './worker-gpu-1:/etc/countersign/worker-gpu-1:ro',
      './data/blobs/pools/gpu:/var/lib/countersign/blobs/pools/gpu',
      './models:/var/lib/countersign/models:ro',
    ]);
  });

  test('starts workers in numbers, each with a volume of its own for its key, and shows the registry key to one only', () => {
    const invited = plan({ pools: plan().pools.map((pool) => ({ ...pool, invited: 16 })) });
    const Mounts = z.looseObject({ services: z.record(z.string(), z.looseObject({ volumes: z.array(z.string()) })) });
    const { services } = Mounts.parse(
      parseYaml(composeFile(invited, { folder: '.', source: '.', owner: '1:1', header: [] })),
    );
    const whoSees = (part: string) =>
      Object.keys(services).filter((name) => services[name]?.volumes.some((volume) => volume.includes(part)));
    expect(whoSees('/registrar')).toEqual(['registrar']);
    expect(whoSees('./list')).toEqual(['attestor', 'registrar']);
    expect(services['attestor']?.volumes).toContain('./list:/etc/countersign/list:ro');
    // Without a name and a path of the host: two containers never share it.
    const own = Object.keys(services).filter((name) => services[name]?.volumes.includes('/var/lib/countersign/own'));
    expect(own).toEqual(['join-default', 'join-gpu']);
    expect(readFileSync(join(ROOT, 'Dockerfile'), 'utf8')).toContain('mkdir -m 1777 /var/lib/countersign/own');
  });

  test('opens a port of its own for each gateway, which sees what its pool hands in and out, and no model', () => {
    const { services } = Compose.parse(
      parseYaml(composeFile(withGateways(), { folder: '.', source: '.', owner: '1:1', header: [] })),
    );
    expect(services['gateway-gpu']).toMatchObject({
      command: ['dist/roles/gateway/main.js'],
      networks: ['work', 'public'],
      ports: ['127.0.0.1:8283:8283'],
      volumes: [
        './gateway-gpu:/etc/countersign/gateway-gpu:ro',
        './data/blobs/pools/gpu:/var/lib/countersign/blobs/pools/gpu',
      ],
    });
    expect([services['gateway-default']?.ports, services['gateway-gpu']?.deploy]).toEqual([
      ['127.0.0.1:8282:8282'],
      undefined,
    ]);
  });

  test('at the top of the repository is that of the demonstration', () => {
    execFileSync(process.execPath, [join(ROOT, 'scripts', 'compose-file.mjs'), '--check'], { cwd: ROOT });
  });
});
