import { SESSION_TYPE } from '../../src/core/attestation/tee/tee-session.ts';
import { decodeStored, encodeStored, signPayload } from '../../src/proof/receipts/dsse.ts';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { TeePolicy, teePolicyDigest } from '../../src/core/attestation/tee/tee-policy.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Chip } from '../support/chip.ts';
import { NOOP_MODEL, Client, Pipeline, completion, until, type Role } from '../support/pipeline.ts';

/**
 * A machine that is played: its chip, AMD's key service, and the operator's command. Everything else is the
 * real thing.
 */
let chip: Chip;
let server: Server;
let pipeline: Pipeline;
let client: Client;
let attestor: Role;
let policy: TeePolicy;
/** Requests to AMD's service, by path without levels. */
const asked: string[] = [];
let isKdsDown = true;
let isDebugged = false;

beforeAll(async () => {
  chip = await Chip.make();
  server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://played');
    const answer = async (): Promise<[number, string | Buffer]> => {
      const [, what, data = ''] = pathname.split('/');
      // The operator's command.
      if (what === 'gpu') return [200, 'null'];
      if (what === 'cpu') {
        const report = await chip.report(Buffer.from(data, 'hex'), isDebugged ? 0xb0000n : 0x30000n);
        return [200, JSON.stringify({ kind: 'sev-snp', report: report.toString('base64') })];
      }
      asked.push(pathname);
      if (isKdsDown) return [503, ''];
      const [vcek = '', ...above] = chip.chainPem.split(/(?<=-----END CERTIFICATE-----)\s*/);
      if (pathname === '/vcek/v1/Genoa/cert_chain') return [200, above.join('\n')];
      if (pathname !== `/vcek/v1/Genoa/${chip.id.toString('hex')}`) return [404, ''];
      const levels = Object.fromEntries(searchParams);
      return JSON.stringify(levels) === JSON.stringify({ blSPL: '10', teeSPL: '00', snpSPL: '25', ucodeSPL: '90' })
        ? [200, Buffer.from(vcek.replace(/-----[^-]+-----|\s/g, ''), 'base64')]
        : [404, ''];
    };
    void answer().then(([status, body]) => response.writeHead(status).end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  pipeline = await Pipeline.prepare([NOOP_MODEL]);
  const zero = { bootloader: 0, tee: 0, snp: 0, microcode: 0 };
  policy = TeePolicy.parse({
    version: 1,
    sevSnp: {
      measurements: [Buffer.alloc(48, 7).toString('hex')],
      minTcb: { genoa: zero },
      roots: { genoa: chip.roots.genoa },
    },
  });
  const command = pipeline.file(
    'evidence.mjs',
    `#!${process.execPath}\nconst answer = await fetch(\`${url}/\${process.argv[2]}/\${process.argv[3]}\`);\nprocess.stdout.write(await answer.text());\n`,
  );
  chmodSync(command, 0o755);
  [attestor] = await Promise.all([
    pipeline.attestor({
      COUNTERSIGN_TEE_POLICY: pipeline.file('tee-policy.json', policy),
      COUNTERSIGN_TEE_COLLATERAL: pipeline.file('collateral.json', { version: 1, sevSnp: { kds: url } }),
    }),
    pipeline.api(),
    pipeline.worker(1, { COUNTERSIGN_TEE_COMMAND: command }),
  ]);
  client = await pipeline.client();
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const wanted = (more: object = {}) =>
  completion('on what machine?', { attestation: { tee: true, recompute: 0 }, ...more });
describe('hardware evidence of a session', () => {
  test('while its maker cannot be asked, nothing is believed, and what wants it is refused at the door', async () => {
    await until(() => attestor.stderr().includes('cannot be judged now'));
    const refused = await client.post('/v1/jobs', wanted());
    expect([refused.status, await refused.json()]).toMatchObject([503, { code: 'attestation_unavailable' }]);
    const plain = await client.run(completion('any machine'));
    const { verdict } = verifyReceipt(await client.receipt(plain.id), pipeline.keyring);
    expect(verdict.notChecked).toContain('HARDWARE_NOT_ATTESTED');
    expect(verdict.hardware).toBeUndefined();
    isKdsDown = false;
  });

  test('then a job that wants it is done, and its receipt names evidence, policy, findings and known attacks', async () => {
    await until(async () => (await client.post('/v1/jobs', wanted())).status === 202);
    const job = await client.run(wanted());
    expect(job).toMatchObject({ state: 'done', attestation: { tee: true } });
    const { verdict } = verifyReceipt(await client.receipt(job.id), pipeline.keyring);
    expect(verdict.properties).toContain('HARDWARE_ATTESTED');
    expect(verdict.notChecked).not.toContain('HARDWARE_NOT_ATTESTED');
    expect(verdict.hardware).toMatchObject({
      policy: { sha256: teePolicyDigest(policy) },
      properties: ['TEE_SEV_SNP_OK'],
      warnings: ['MEMORY_BUS_NOT_TRUSTED'],
    });
    // The attestor asked the maker itself, and once.
    const good = asked.filter((path) => path.startsWith('/vcek/v1/Genoa/'));
    expect(new Set(good).size).toBe(2);
  });

  test('a worker without evidence that takes such a job is refuted', async () => {
    const workers = pipeline.running().filter(({ name }) => name.startsWith('worker'));
    await pipeline.freeze(...workers);
    try {
      const { id } = await client.submit(wanted({ attempts: 1 }));
      const other = pipeline.hand(2);
      await other.commit(await other.claim(id));
      const job = await client.ended(id);
      expect([job.state, job.attempts[0]?.closed?.detail]).toEqual(['rejected', 'HARDWARE_NOT_ATTESTED']);
    } finally {
      for (const { process } of workers) process.kill('SIGCONT');
    }
  });

  test("another's evidence, evidence for no challenge of ours, a debugged guest, garbage and bombs are not believed", async () => {
    const { redis } = pipeline;
    const own = workerIdOf(pipeline.workerKeys[0]?.public ?? pipeline.apiKey.public);
    const stored = decodeStored(Buffer.from((await redis.client().get(redis.keys.hardware('default', own))) ?? ''));
    const session = JSON.parse(stored?.payload.toString() ?? '') as { nonce: string };
    const hostile = redis.client('worker.default');
    const say = async (number: number, text: string, reason: string) => {
      const { id, signingKey } = pipeline.hand(number);
      await hostile.zadd(redis.keys.workers('default'), Date.now(), id);
      const signed = signPayload(signingKey, Buffer.from(text), SESSION_TYPE);
      await hostile.set(redis.keys.hardware('default', id), encodeStored(signed), 'PX', 600_000);
      await until(() =>
        attestor
          .stderr()
          .split('\n')
          .some((line) => line.includes(id) && line.includes(reason)),
      );
    };
    await say(2, JSON.stringify(session), 'TEE_NOT_BOUND');
    await say(3, JSON.stringify({ ...session, nonce: '0'.repeat(64) }), 'TEE_NOT_FRESH');
    await say(4, '{"version":1}', 'not accepted');
    await hostile.set(redis.keys.hardware('default', pipeline.hand(4).id), 'x'.repeat(5_000_000), 'PX', 600_000);
    // What another worker writes in its place leaves what was found of the first.
    for (const text of ['garbage', JSON.stringify(session), 'x'.repeat(5_000_000)])
      await hostile.set(redis.keys.hardware('default', own), text, 'PX', 600_000);
    expect((await client.post('/v1/jobs', wanted())).status).toBe(202);
    // Nor can a worker make a challenge that it has an answer to.
    await expect(hostile.zadd(redis.keys.challenges, Date.now(), '0'.repeat(64))).rejects.toThrow('NOPERM');

    // Newer evidence of its own that is garbled ends nothing either; what shows the machine itself does.
    const garbled = JSON.stringify({ ...session, nonce: 'f'.repeat(64) });
    await hostile.set(
      redis.keys.hardware('default', own),
      encodeStored(signPayload(pipeline.workerKeys[0] ?? pipeline.apiKey, Buffer.from(garbled), SESSION_TYPE)),
      'PX',
      600_000,
    );
    await until(() => attestor.stderr().split('TEE_NOT_FRESH').length > 2);
    expect((await client.post('/v1/jobs', wanted())).status).toBe(202);

    isDebugged = true;
    await redis.client().zadd(redis.keys.challenges, Date.now(), '1'.repeat(64));
    await until(() => attestor.stderr().includes('TEE_DEBUG'));
    await until(async () => (await client.post('/v1/jobs', wanted())).status === 503);
    isDebugged = false;
    await redis.client().zadd(redis.keys.challenges, Date.now() + 1, '2'.repeat(64));
    await until(async () => (await client.post('/v1/jobs', wanted())).status === 202);
  });
});
