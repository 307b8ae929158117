import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Authority, type CertificateFiles } from '../support/certificates.ts';
import { NOOP_MODEL, Pipeline, completion, until, type Client, type Role } from '../support/pipeline.ts';

/** A gateway that asks whoever connects for a certificate, and workers with and without one. */
let pipeline: Pipeline;
let client: Client;
let gateway: Role;
let [ours, theirs]: [Authority?, Authority?] = [];
let server: Record<string, string>;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL]);
  ours = await Authority.make(pipeline.folder, 'ours');
  theirs = await Authority.make(pipeline.folder, 'theirs');
  const { cert, key } = await ours.issue('gateway');
  server = {
    COUNTERSIGN_TLS_CERT_FILE: cert,
    COUNTERSIGN_TLS_KEY_FILE: key,
    COUNTERSIGN_TLS_CLIENT_CA_FILE: ours.file,
  };
  [gateway] = await Promise.all([pipeline.gateway(server), pipeline.api(), pipeline.attestor()]);
  client = await pipeline.client();
});
afterAll(() => pipeline[Symbol.asyncDispose]());

const url = () => String(gateway.facts['url']);
/** What a worker is told: the authority of the gateway, and what it shows. */
const told = (own: CertificateFiles | undefined, authority = ours): Record<string, string> => ({
  COUNTERSIGN_GATEWAY_CA_FILE: authority?.file ?? '',
  ...(own === undefined ? {} : { COUNTERSIGN_GATEWAY_CERT_FILE: own.cert, COUNTERSIGN_GATEWAY_KEY_FILE: own.key }),
});
const issue = async (authority: Authority | undefined, name: string, daysFromNow?: number) => {
  if (authority === undefined) throw new Error('not started');
  return authority.issue(name, daysFromNow);
};

test('a worker with a certificate of the authority works, streams and is stopped as any other', async () => {
  const worker = await pipeline.remoteWorker(1, url(), told(await issue(ours, 'worker')));
  const jobs = await Promise.all(
    Array.from({ length: 20 }, (_, at) => client.run(completion(`${at} ${'long '.repeat(2_000)}`))),
  );
  expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(['done']));
  worker.process.kill('SIGTERM');
  expect(await worker.exited).toBe(0);
});

test('none, one of another authority, and one whose time is over or not yet there open nothing', async () => {
  const [foreign, old, early] = await Promise.all([
    issue(theirs, 'foreign'),
    issue(ours, 'old', -30),
    issue(ours, 'early', 30),
  ]);
  const started = [undefined, foreign, old, early].map((own) =>
    pipeline.remoteWorker(2, url(), told(own)).catch((error: unknown) => String(error)),
  );
  started.push(
    pipeline
      .remoteWorker(2, url(), told(await issue(ours, 'trusting'), theirs))
      .catch((error: unknown) => String(error)),
  );
  const refusedAs = (name: string) =>
    new RegExp(`ended with 6: [^]*gateway_away: .*does not take the certificate shown .CN=${name}, from .* to .*`);
  const ended = await Promise.all(started);
  expect(ended).toEqual([
    expect.stringMatching(/ended with 6: [^]*gateway_away: .*certificate required/),
    ...['foreign', 'old', 'early'].map((name) => expect.stringMatching(refusedAs(name))),
    expect.stringMatching(/ended with 6: [^]*gateway_away: .*(self-signed|unable to (verify|get)).*/),
  ]);
});

test('whoever asks to be enrolled shows the certificate too', async () => {
  const own = await issue(ours, 'enrolling');
  const enrol = (...more: string[]) =>
    spawnSync(
      process.execPath,
      [
        ...[join(pipeline.dist, 'roles', 'cli', 'main.js'), 'worker', 'enrol', '--gateway', url(), '--operator', 'me'],
        ...['--key', join(pipeline.folder, 'new.key'), '--no-wait', '--json', ...more],
      ],
      { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', HOME: pipeline.folder } },
    );
  const [without, shown] = [
    enrol('--gateway-ca', ours?.file ?? ''),
    enrol('--gateway-ca', ours?.file ?? '', '--gateway-cert', own.cert, '--gateway-key', own.key),
  ];
  expect([without.status, without.stderr]).toEqual([6, expect.stringContaining('certificate required')]);
  expect([shown.status, shown.stdout]).toEqual([0, expect.stringContaining('"state":"pending"')]);
});

test('a gateway that cannot ask for certificates does not start', async () => {
  const refused = (change: Record<string, string>) =>
    expect(pipeline.gateway(change)).rejects.toThrow('config_invalid');
  await refused({ COUNTERSIGN_TLS_CLIENT_CA_FILE: ours?.file ?? '' });
  await refused({ ...server, COUNTERSIGN_TLS_CLIENT_CA_FILE: server['COUNTERSIGN_TLS_KEY_FILE'] ?? '' });
});

test('a gateway that begins to ask lets go of those that show none', async () => {
  gateway.process.kill('SIGTERM');
  await gateway.exited;
  const port = new URL(url()).port;
  const { COUNTERSIGN_TLS_CLIENT_CA_FILE: authorities = '', ...open } = server;
  gateway = await pipeline.gateway({ ...open, COUNTERSIGN_PORT: port });
  const worker = await pipeline.remoteWorker(3, url(), told(undefined));
  expect((await client.run(completion('nobody is asked'))).state).toBe('done');
  gateway.process.kill('SIGTERM');
  await gateway.exited;
  gateway = await pipeline.gateway({
    ...open,
    COUNTERSIGN_TLS_CLIENT_CA_FILE: authorities,
    COUNTERSIGN_PORT: port,
  });
  await until(() => worker.stderr().includes('certificate required'));
  worker.process.kill('SIGTERM');
  await worker.exited;
});
