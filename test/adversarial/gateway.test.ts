import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { signedAnnouncement } from '../../src/core/catalog/announcement.ts';
import type { Claim } from '../../src/core/execution/claims.ts';
import { askOpenly } from '../../src/core/remote/gateway-client.ts';
import { SIGNED_HEADERS, sessionBytes } from '../../src/core/remote/request-signature.ts';
import { BLOB_PART_BYTES, Challenge, MOST_JSON_BYTES, ROUTES, type Lease } from '../../src/core/remote/wire.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { workerIdOf, type SigningKey } from '../../src/ground/keys/signing-key.ts';
import { encodeStored, signPayload } from '../../src/proof/receipts/dsse.ts';
import { statementBytes } from '../../src/proof/receipts/statements.ts';
import { INLINE_BYTES, MAX_OUTPUT_BYTES } from '../../src/proof/tasks/task-input.ts';
import { GatewayHand, type Answer, type ByHand } from '../support/gateway-hand.ts';
import { NOOP_MODEL, Pipeline, completion, type Client } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { longTest } from '../support/thorough.ts';

/**
 * A worker that is enrolled, has a lease of its own and means harm, by what its requests look like: the
 * second table of refusals in docs/gateway.md is the table of this test. Beside it, an honest one holds a
 * lease.
 */
let pipeline: Pipeline;
let client: Client;
let [honest, hostile]: [GatewayHand?, GatewayHand?] = [];
let [honestLease, hostileLease]: [Lease?, Lease?] = [];
let shown: Promise<string>;

const there = <Thing>(thing: Thing | undefined): Thing => {
  if (thing === undefined) throw new Error('not started');
  return thing;
};

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, { ...NOOP_MODEL, name: 'golden', pool: 'gold' }]);
  const [gateway] = await Promise.all([
    pipeline.gateway({ COUNTERSIGN_LEASE_MS: '600000', COUNTERSIGN_ADDRESS_RATE: '5' }),
    pipeline.api(),
    pipeline.attestor(),
  ]);
  client = await pipeline.client();
  const keyOf = (number: number): SigningKey => there(pipeline.workerKeys[number - 1]);
  const take = async (hand: GatewayHand) => {
    const { id } = await client.submit(completion('mine', { attempts: 1, attestation: { recompute: 0 } }));
    const [lease] = await hand.lease(NOOP_MODEL.name);
    expect([lease?.job, await hand.begin(there(lease))]).toEqual([id, 'ok']);
    return there(lease);
  };
  const url = String(gateway.facts['url']);
  honest = new GatewayHand(url, keyOf(3));
  hostile = new GatewayHand(url, keyOf(4));
  honestLease = await take(honest);
  hostileLease = await take(hostile);
  shown = client.fetch(`/v1/jobs/${honestLease.job}/events`).then((response) => response.text());
  // Where the tests that end the job do not run, it is cut off.
  shown.catch(() => undefined);
});
afterAll(() => pipeline[Symbol.asyncDispose]());

const heldOf = ({ job, epoch, secret }: Lease) => ({ job, epoch, secret });
const say = (request: ByHand): Promise<Answer> => there(hostile).send(request);
const post = (target: string, body: ByHand['body'] | object, more: ByHand = {}) => {
  const isText = typeof body === 'string' || body instanceof Uint8Array || body === undefined;
  return say({ target, ...more, ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }) });
};
const renew = (body: ByHand['body'] | object) => post(ROUTES.renewals, body);
const askLeases = (change: object) =>
  post(ROUTES.leases, { models: [{ name: NOOP_MODEL.name, slots: 1 }], wait_ms: 0, ...change });
const write = (change: object, of = there(hostileLease)) =>
  post(ROUTES.pieces, { pieces: [{ ...heldOf(of), number: 1, text: 'x', ...change }] });

/** A part of a blob of the lease that the worker has; by default all of it. */
function upload(bytes: Uint8Array<ArrayBuffer>, { offset = 0, total = bytes.length, type = 'octet-stream' } = {}) {
  const { job, epoch, secret } = there(hostileLease);
  const query = `offset=${offset}&total=${total}&epoch=${epoch}&secret=${secret}`;
  const target = `${ROUTES.blob(job, sha256Hex(bytes))}?${query}`;
  return say({ method: 'PUT', target, body: bytes, headers: { 'content-type': `application/${type}` } });
}

/** Evidence of the lease that the worker has, honest but for this change. */
function evidence(change: object, output?: string) {
  const { job, epoch, secret, ticket, input } = there(hostileLease);
  const direct = pipeline.hand(4);
  const claim: Claim = { id: job, epoch, secret, token: '', ticket, input: input ?? '' };
  const said = output ?? direct.honestOutput(claim);
  const statement = encodeStored(signPayload(direct.signingKey, statementBytes(direct.evidence(claim, said))));
  const json = { kind: 'evidence', epoch, secret, statement, output: said, tokens: '', ...change };
  return post(ROUTES.lease(job), json);
}

/** An announcement that this one signs, of this worker, for this pool. */
function announcement(change: { id?: string; pool?: string }, signer = there(hostile).key) {
  const id = workerIdOf(there(hostile).key.public);
  const facts = { id, role: 'worker' as const, pool: 'default', models: [], tasks: [], engines: [] };
  const whole = { ...facts, state: 'consuming' as const, inFlight: 0, at: new Date().toISOString(), ...change };
  return post(ROUTES.announcement, { announcement: signedAnnouncement(whole as never, signer) }, { method: 'PUT' });
}

const openAgain = async (challenge?: string) => {
  if (challenge === undefined) return there(hostile).open();
  const { key, url } = there(hostile);
  const signature = key.sign(sessionBytes(challenge)).toString('base64');
  const body = JSON.stringify({ challenge, public_key: key.public.raw, signature });
  const response = await fetch(url + ROUTES.sessions, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  });
  const { code, detail } = (await response.json()) as { code: string; detail: string };
  return { status: response.status, code, detail, retryAfter: null };
};

/** Several at once; only those that were refused count, and there must be some. */
async function flood(count: number, request: (at: number) => Promise<Answer>): Promise<Answer[]> {
  const answers = await Promise.all(Array.from({ length: count }, (_, at) => request(at)));
  const refused = answers.filter(({ status }) => status >= 400);
  expect([refused.length > 0, refused.length < count]).toEqual([true, true]);
  expect(refused.map(({ retryAfter }) => Number(retryAfter) >= 1)).not.toContain(false);
  return refused;
}

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const bytesOf = (length: number, fill = 7) => new Uint8Array(length).fill(fill);

type Row = readonly [who: string, answer: string, attack: () => Promise<readonly Answer[]>];

const TABLE: readonly Row[] = [
  [
    'JSON that two parsers read differently, is cut, has `__proto__`, or nests deeper than 32',
    '400 `body_not_json`',
    () =>
      Promise.all([
        renew('{"leases":[],"leases":[]}'),
        renew(Uint8Array.from([...Buffer.from('{"leases":["'), 0xc3, 0x28, ...Buffer.from('"]}')])),
        renew('{"leases":['),
        renew('{"leases":[]} {}'),
        renew('{"leases":[NaN]}'),
        renew('{"__proto__":{"leases":[]}}'),
        renew(nested(40)),
        renew(nested(200_000)),
      ]),
  ],
  [
    'JSON of another form than the schema: null, nothing, one member more, numbers out of range',
    '400 `request_invalid`',
    () =>
      Promise.all([
        // A byte-order mark at the head says nothing, and what follows it is read.
        ...['null', '[]', '7', '""', '', '\uFEFF{}'].map((body) => renew(body)),
        renew({ leases: [heldOf(there(hostileLease))], more: 1 }),
        renew({ leases: [] }),
        renew({ leases: Array.from({ length: 257 }, () => heldOf(there(hostileLease))) }),
        ...['0', '-1', '1.5', '1e400', '9007199254740993', '"1"', 'null'].map((epoch) =>
          renew(`{"leases":[{"job":"${there(hostileLease).job}","epoch":${epoch},"secret":"${'0'.repeat(16)}"}]}`),
        ),
        ...[ROUTES.leases, ROUTES.waiting, ROUTES.pieces, ROUTES.lease(there(hostileLease).job)].map((at) =>
          post(at, 'null'),
        ),
        ...[ROUTES.announcement, ROUTES.hardware].map((at) => post(at, 'null', { method: 'PUT' })),
        post(ROUTES.lease('job_..%2f..%2fx'), '{}'),
        askLeases({ wait_ms: 60_001 }),
        askLeases({ models: [] }),
        post(ROUTES.waiting, { models: [] }),
        post(ROUTES.waiting, { models: ['../other'] }),
        askLeases({ models: [{ name: NOOP_MODEL.name, slots: 0 }] }),
        askLeases({ models: Array.from({ length: 201 }, () => ({ name: NOOP_MODEL.name, slots: 1 })) }),
      ]),
  ],
  [
    'a body of another media type than its route reads',
    '415 `media_type_unsupported`',
    () =>
      Promise.all([
        post(ROUTES.renewals, '{}', { headers: { 'content-type': 'text/plain' } }),
        post(ROUTES.renewals, '{}', { headers: { 'content-type': 'application/xml' } }),
        upload(Buffer.from('{}'), { type: 'json' }),
      ]),
  ],
  [
    'an address that is none',
    '404 `route_not_found`',
    () => Promise.all(['/v1/worker/', '/v1/worker/jobs', '/v1/worker/leases/a/b/c/d'].map((at) => post(at, '{}'))),
  ],
  [
    'headers longer than 16 KiB',
    '431 `headers_too_large`',
    async () => [await post(ROUTES.renewals, '{}', { headers: { 'x-more': 'x'.repeat(17_000) } })],
  ],
  [
    'a number of the request that is not written as numbers are, or one signature too many',
    '401 `signature_invalid`',
    () =>
      Promise.all([
        ...[0, -1, 1.5, 1e15, Number.NaN].map((number) => say({ number })),
        say({ headers: { [SIGNED_HEADERS.number]: '007' } }),
        say({ headers: { [SIGNED_HEADERS.signature]: Array.from({ length: 2 }, () => 'A'.repeat(88)).join(', ') } }),
      ]),
  ],
  [
    'a body larger than 2 MiB, or a part of a blob larger than 4 MiB',
    '413 `body_too_large`',
    () =>
      Promise.all([
        renew(`"${'x'.repeat(MOST_JSON_BYTES)}"`),
        evidence({ output: 'x'.repeat(MOST_JSON_BYTES) }),
        upload(bytesOf(BLOB_PART_BYTES + 1)),
      ]),
  ],
  [
    'a blob larger than 16 MiB, a part beyond the end of its blob, or the fifth blob of an attempt',
    '400 `request_invalid`',
    async () => {
      const early = await Promise.all([
        upload(bytesOf(3), { total: MAX_OUTPUT_BYTES + 1 }),
        upload(bytesOf(3), { total: 2 }),
        upload(bytesOf(3), { offset: 9, total: 10 }),
        upload(bytesOf(3), { offset: -1 }),
        upload(bytesOf(3), { offset: 2 ** 60 }),
      ]);
      const four = await Promise.all([1, 2, 3, 4].map((fill) => upload(bytesOf(9, fill))));
      expect(four.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      return [...early, await upload(bytesOf(9, 5))];
    },
  ],
  [
    'a statement longer than 64 KiB, or of another kind than those that there are',
    '400 `request_invalid`',
    () =>
      Promise.all([
        evidence({ statement: 'x'.repeat(65_537) }),
        evidence({ kind: 'verdict' }),
        evidence({ kind: 'release' }),
      ]),
  ],
  [
    'evidence that is not signed, or has an output of more than 4 KiB, or token ids that it does not name, beside it',
    '422 `statement_invalid`',
    () =>
      Promise.all([
        evidence({ statement: 'x' }),
        evidence({ statement: '{"payload":"","payloadType":"","signatures":[]}' }),
        evidence({}, JSON.stringify({ text: 'x'.repeat(INLINE_BYTES), finish_reason: 'stop' })),
        evidence({ tokens: 'AAAA' }),
        evidence({ tokens: 'A'.repeat(INLINE_BYTES + 4) }),
      ]),
  ],
  [
    'none or more than 256 pieces, an empty one, or one that is numbered 0 or above 4,000',
    '400 `request_invalid`',
    () =>
      Promise.all([
        post(ROUTES.pieces, { pieces: [] }),
        post(ROUTES.pieces, {
          pieces: Array.from({ length: 257 }, (_, at) => ({
            ...heldOf(there(hostileLease)),
            number: at + 1,
            text: 'x',
          })),
        }),
        ...[{ text: '' }, { number: 0 }, { number: 4_001 }, { number: 1.5 }].map((change) => write(change)),
      ]),
  ],
  [
    'pieces of a lease of another, of another epoch, or of a number that came before',
    '204; nobody is shown them',
    async () => {
      const [by, lease] = [there(honest), there(honestLease)];
      const piece = (number: number, text: string, epoch = lease.epoch) =>
        by.ask({
          method: 'POST',
          target: ROUTES.pieces,
          json: { pieces: [{ ...heldOf(lease), epoch, number, text }] },
        });
      const foreign = await Promise.all([
        write({ number: 1, text: 'forged' }, lease),
        write({ number: 9, text: 'forged', secret: '0'.repeat(16) }, lease),
      ]);
      await piece(1, 'one ');
      await piece(2, 'two ');
      await piece(1, 'again');
      await piece(3, 'later', lease.epoch + 1);
      await piece(3, 'three');
      return foreign;
    },
  ],
  [
    'an announcement that another worker signed, of another worker, or for another pool',
    '422 `statement_invalid`',
    () =>
      Promise.all([
        announcement({}, there(honest).key),
        announcement({ id: workerIdOf(there(honest).key.public) }, there(honest).key),
        announcement({ id: workerIdOf(there(honest).key.public) }),
        announcement({ pool: 'gold' }),
        post(ROUTES.hardware, { evidence: 'x' }, { method: 'PUT' }),
      ]),
  ],
  [
    'jobs are asked for of a model of another pool, or of none',
    '200; there are none',
    async () => {
      await client.submit(completion('for the others', { model: 'golden' }));
      const answers = await Promise.all(
        ['golden', 'no-such'].map((name) => askLeases({ models: [{ name, slots: 9 }], wait_ms: 50 })),
      );
      expect(answers.map(({ detail }) => detail)).toEqual(answers.map(() => '{"leases":[]}'));
      return answers;
    },
  ],
  [
    'more than 4 requests for leases of one worker wait',
    '429 `too_many_asks`',
    // The others wait for as long as it takes to see it, and get nothing.
    () => flood(9, () => askLeases({ wait_ms: 1_000 })),
  ],
  [
    'requests of one session in another order, and then all of them again',
    '409 `request_replayed`',
    // The last of the signed requests of its session: its numbers are above all others.
    async () => {
      const numbers = Array.from({ length: 100 }, (_, at) => 7_000_000 + ((at * 37) % 100));
      const [first, again] = [
        await Promise.all(numbers.map((number) => say({ number }))),
        await Promise.all(numbers.map((number) => say({ number }))),
      ];
      // Whichever comes first, each is taken once: only its body is not what the route reads.
      expect(new Set(first.map(({ code }) => code))).toEqual(new Set(['request_invalid']));
      return again;
    },
  ],
  [
    'a challenge that this pool never made is answered',
    '401 `challenge_unknown`',
    async () => [await openAgain('f'.repeat(64))],
  ],
  ['a worker opens more sessions than ten, one every 6 s', '429 `rate_limited`', () => flood(14, () => openAgain())],
  [
    'more is asked without a session than `COUNTERSIGN_ADDRESS_RATE`',
    '429 `rate_limited`',
    () => flood(90, () => post(ROUTES.challenges, '{}')),
  ],
];

/** What is answered, until it is closed, to the beginning of a request and then a byte now and then. */
async function drip(beginning: string, byte: string): Promise<string> {
  const { hostname, port } = new URL(there(hostile).url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (piece: Buffer) => (answer += piece.toString())).on('error', () => undefined);
  socket.write(beginning);
  const timer = setInterval(() => socket.write(byte), 500);
  await once(socket, 'close');
  clearInterval(timer);
  const [, status = '', code = ''] = /^HTTP\/1\.1 (\d+)[^]*"code":"(\w+)"/.exec(answer) ?? [];
  return answer === '' ? 'the connection is closed' : `${status} \`${code}\`, and the connection is closed`;
}

function slowBody(target: string): string {
  const head = ['host: x', 'content-type: application/json', 'content-length: 9000'].join('\r\n');
  return `POST ${target} HTTP/1.1\r\n${head}\r\n\r\n`;
}

/** What comes slowly is not waited for; who sends it holds up nobody. */
const SLOW: readonly (readonly [who: string, answer: string, attack: () => Promise<string>])[] = [
  [
    'headers that come for longer than 10 s',
    '400 `request_invalid`, and the connection is closed',
    () => drip(`POST ${ROUTES.challenges} HTTP/1.1\r\nhost: x\r\nx-more: `, 'x'),
  ],
  ['a body that comes for longer than 30 s', 'the connection is closed', () => drip(slowBody(ROUTES.challenges), ' ')],
  [
    'the same of a request that is refused',
    '401 `signature_invalid`, and the connection is closed',
    () => drip(slowBody(ROUTES.renewals), ' '),
  ],
  [
    'a challenge is answered after its minute',
    '401 `challenge_unknown`',
    async () => {
      const { challenge, ends_in_ms: endsInMs } = await askOpenly(
        Challenge,
        there(hostile).url + ROUTES.challenges,
        {},
      );
      await pause(endsInMs + 1_000);
      const { status, code } = await openAgain(challenge);
      return `${status} \`${code ?? ''}\``;
    },
  ],
];

describe('a hostile worker at a gateway', () => {
  longTest('what comes slowly is not waited for, and holds up nobody', async () => {
    // At once, for they wait; the patience for each is so much longer that they end in this order.
    const told: (readonly [string, string])[] = [];
    await Promise.all(SLOW.map(async ([who, , attack]) => told.push([who, await attack()])));
    expect(told.slice(1, 3).toSorted()).toEqual(
      SLOW.slice(1, 3)
        .map(([who, answer]) => [who, answer])
        .toSorted(),
    );
    expect([told[0], told[3]]).toEqual([SLOW[0], SLOW[3]].map((row) => row?.slice(0, 2)));
    expect(await there(honest).renew(there(honestLease))).toBe('renewed');
  });

  test.each(TABLE)('%s: %s', async (_who, answer, attack) => {
    const answers = await attack();
    expect(answers.length).toBeGreaterThan(0);
    const told = answers.map(({ status, code }) => (code === undefined ? String(status) : `${status} \`${code}\``));
    expect(told).toEqual(answers.map(() => answer.split(';')[0]));
    for (const { code, detail } of answers) if (code !== undefined) expect(detail).toMatch(/^[^\n]{10,600}$/);
    // It has touched no lease but its own.
    expect(await there(honest).renew(there(honestLease))).toBe('renewed');
  });

  test('the table is the one of the documents', () => {
    const page = readFileSync(join(ROOT, 'docs', 'gateway.md'), 'utf8');
    const rows = [...(page.split('| what a request looks like')[1] ?? '').matchAll(/^\| ([^-].*?) *\| (.*?) *\|$/gm)];
    const written = rows.map(([, who, answer]) => `${who}: ${answer}`);
    expect(written.toSorted()).toEqual([...TABLE, ...SLOW].map(([who, answer]) => `${who}: ${answer}`).toSorted());
  });

  test('the honest worker ends its job in its first attempt, and nobody was shown what it did not say', async () => {
    const [lease, direct] = [there(honestLease), pipeline.hand(3)];
    const claim: Claim = { ...lease, id: lease.job, token: '', input: lease.input ?? '' };
    const output = direct.honestOutput(claim);
    const statement = encodeStored(signPayload(direct.signingKey, statementBytes(direct.evidence(claim, output))));
    const json = { kind: 'evidence', epoch: lease.epoch, secret: lease.secret, statement, output, tokens: '' };
    const target = ROUTES.lease(lease.job);
    expect(await there(honest).ask({ method: 'POST', target, json })).toBe('{"reply":"ok"}');
    const job = await client.ended(lease.job);
    expect([job.state, job.attempts.length]).toEqual(['done', 1]);
    const pieces = [...(await shown).matchAll(/^event: chunk\ndata: (.*)$/gm)];
    expect(pieces.map(([, data = '{}']) => (JSON.parse(data) as { text: string }).text).join('')).toBe('one two three');
  });
});
