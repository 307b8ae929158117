import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { publishedLog } from '../../src/core/jobs/published-log.ts';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { recordBody, recordBytes } from '../../src/core/jobs/job-record.ts';
import { LogRequests } from '../../src/core/confirmation/log-requests.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { CLOSED_PERIOD_TYPE } from '../../src/proof/contract/closed-period.ts';
import { encodeStored, signPayload, verifyPayload } from '../../src/proof/receipts/dsse.ts';
import { chargeOf } from '../../src/proof/receipts/charge.ts';
import { statementBytes, type Ticket } from '../../src/proof/receipts/statements.ts';
import { auditLedger, auditLedgers } from '../../src/surfaces/ledger/ledger-audit.ts';
import { LedgerCloser } from '../../src/surfaces/ledger/ledger-closer.ts';
import { LedgerEntry, ledgerEntry } from '../../src/surfaces/ledger/ledger-entry.ts';
import { aRecord } from '../support/records.ts';
import { booksOf } from '../support/books.ts';
import { until } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { api, attestor, documents, keyring, newKey } from '../support/sample-receipts.ts';
import { startSequencer } from '../support/sequencer.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

const PRICE = { table: { id: 'v1', sha256: '0'.repeat(64) }, input: 0, output: 0, second: 0, attestation: 0, hold: 0 };
const MONTH = '2026-01';
const quiet = createLogger('test', 'fatal');

/** A ledger of a month that is over, of two currencies, as `enter.lua` leaves it with its account. */
async function aLedger(server: TestRedis, count: number) {
  const { keys } = server;
  const fields: Record<string, string> = {};
  const sums = { EUR: 0, USD: 0 };
  for (let at = 0; at < count; at += 1) {
    const currency = at % 3 === 0 ? 'USD' : 'EUR';
    sums[currency] += at;
    const line = { kind: 'charge', atMs: Date.UTC(2026, 0, 31) + at, amount: at, key: 'k', model: 'm' } as const;
    fields[newJobId('default', line.atMs)] = JSON.stringify(ledgerEntry(line, { ...PRICE, currency }));
  }
  const admin = server.client();
  await admin.hset(keys.ledger('acme', MONTH), fields);
  await admin.sadd(keys.ledgers, `acme ${MONTH}`);
  await admin.hset(keys.account('acme'), { 'EUR:spent': sums.EUR, 'USD:spent': sums.USD });
  await admin.hset(keys.spent('acme', MONTH), { EUR: sums.EUR, USD: sums.USD });
  await admin.hset(keys.jobEnds, 'cursor', String(Date.UTC(2026, 1, 1)));
  return sums;
}

const line = (kind: 'charge' | 'release', amount: number) =>
  JSON.stringify(
    ledgerEntry({ kind, atMs: Date.UTC(2026, 1, 5), amount, key: 'k', model: 'm' }, { ...PRICE, currency: 'EUR' }),
  );

/** A done job with a price, and what its receipt comes to. */
function pricedRecord(number: number) {
  const { ticket, evidence, verdict } = documents(number);
  const priced: Ticket = {
    ...ticket,
    predicate: {
      ...ticket.predicate,
      price: { ...PRICE, currency: 'EUR', output: 1_000_000, attestation: number, hold: 1_000 },
    },
  };
  const due = chargeOf(priced.predicate, evidence.predicate, verdict.predicate);
  const id = ticket.predicate.job;
  const sha256 = sha256Hex(statementBytes(priced));
  const said = { ...verdict, predicate: { ...verdict.predicate, ticket: { sha256 } } };
  const record = (index: number, isForged: boolean) =>
    recordBytes(
      { state: 'done', index, endedMs: Date.UTC(2026, 1, 5), tenant: 'acme', model: 'noop' },
      recordBody(
        aRecord({
          id,
          ticket: signPayload(api, statementBytes(priced)),
          evidence: signPayload(api, statementBytes(evidence)),
          verdict: signPayload(isForged ? api : attestor, statementBytes(said)),
        }),
      ),
    );
  return { id, due, record };
}

function houseOf(server: TestRedis) {
  const { keys } = server;
  const redis = server.client('api');
  const books = booksOf(redis, keys, { keyring, blobs: server.folder });
  const closerAt = (nowMs: number, signingKey: SigningKey = api) =>
    new LedgerCloser({ redis, keys, ...books, signingKey, nowMs: () => Promise.resolve(nowMs) }, quiet);
  const attestor = server.client('attestor');
  const sequencer = startSequencer(server, attestor, newKey());
  const record = (keyId: string, payload: Buffer) => sequencer.logDocument('ledger', keyId, payload);
  const requests = new LogRequests({ redis: attestor, keys, keyring, record }, quiet);
  return { redis, keys, books, closerAt, sequencer, requests, admin: server.client() };
}

const textOf = async (pieces: AsyncIterable<Buffer>) => {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all).toString('utf8');
};

describe('a month of a ledger', () => {
  test('leaves Redis as a signed export whose digest is in the log, and reads and balances as before', async () => {
    await using server = await TestRedis.start();
    const sums = await aLedger(server, 1_500);
    const { books, closerAt, sequencer, requests, admin, redis, keys } = houseOf(server);
    const before = (await textOf(books.ledgers.text('acme', MONTH, 'jsonl'))).split('\n').toSorted();
    // Within a day of its end it stays open, and so it does while an end is not entered.
    await closerAt(Date.UTC(2026, 1, 1, 23)).closeAll();
    await admin.zadd(keys.ended, Date.UTC(2026, 0, 31), 'job_late');
    await admin.hset(keys.jobEnds, 'cursor', '0');
    await closerAt(Date.UTC(2026, 1, 3)).closeAll();
    expect(await books.closed.list('acme')).toEqual([]);
    await admin.hset(keys.jobEnds, 'cursor', String(Date.UTC(2026, 1, 1)));

    // Two couriers at once, and one that comes again: the month is closed once.
    await Promise.all([1, 2].map(() => closerAt(Date.UTC(2026, 1, 3)).closeAll()));
    const [closed] = await books.closed.list('acme');
    if (closed === undefined) throw new Error('It is not closed.');
    expect(closed.period).toMatchObject({
      entries: 1_500,
      sums: [
        { currency: 'EUR', charged: sums.EUR },
        { currency: 'USD', charged: sums.USD },
      ],
    });
    expect(verifyPayload(api.public, closed.signed, CLOSED_PERIOD_TYPE)).toBe(true);
    await until(async () => {
      await requests.look();
      return (await admin.exists(keys.ledger('acme', MONTH))) === 0;
    });
    await closerAt(Date.UTC(2026, 1, 4)).closeAll();
    await requests.look();
    expect(await admin.exists(keys.ledgers, keys.logRequests)).toBe(0);
    // Redis comes back from before: whoever closes the month now has its statement, also with another key.
    await aLedger(server, 1_500);
    await admin.del(keys.ledgerPeriods('acme'));
    await closerAt(Date.UTC(2026, 1, 5), newKey()).closeAll();
    expect(await books.closed.list('acme')).toEqual([closed]);
    await until(async () => {
      await requests.look();
      return (await admin.exists(keys.ledger('acme', MONTH))) === 0;
    });
    await sequencer.stop();
    const documents = await publishedLog(redis, keys).documents();
    expect(documents.filter(({ kind }) => kind === 'ledger')).toMatchObject([
      { sha256: sha256Hex(closed.signed.payload), keyid: api.public.id },
    ]);

    const text = await textOf(books.ledgers.text('acme', MONTH, 'jsonl'));
    expect(text.split('\n').toSorted()).toEqual(before);
    expect(sha256Hex(text)).toBe(closed.period.jsonl.sha256);
    expect((await textOf(books.ledgers.text('acme', MONTH, 'csv'))).split('\r\n')).toHaveLength(1_502);
    expect(await auditLedger(books, 'acme')).toMatchObject({ entries: 1_500, problems: [] });
    await admin.hincrby(keys.account('acme'), 'USD:spent', 1);
    expect((await auditLedger(books, 'acme')).problems).toHaveLength(1);
  });

  test('is compared with every receipt of the archive, and each receipt has its one entry', async () => {
    await using server = await TestRedis.start();
    const { keys } = server;
    const admin = server.client();
    const log = join(server.folder, 'log');
    const jobs = Array.from({ length: 300 }, (_, at) => pricedRecord(at));
    const [right, dear, released, missing, waiting, forged, late, twice] = jobs.map(({ id }) => id);
    await new JobArchive(new FolderTree(log)).write(
      'checkpoint',
      jobs.map(({ id, record }, index) => ({
        index,
        entry: Buffer.from('{}'),
        job: { id, record: record(index, id === forged) },
      })),
    );
    // The last one's place is not published.
    await admin.hset(keys.log, 'size', jobs.length - 1);
    await admin.hset(keys.jobEnds, 'cursor', '1000');
    await admin.zadd(keys.ended, 1_001, waiting ?? '');
    await admin.zadd(keys.unsealed, 6, late ?? '');
    const fields = new Map(jobs.map(({ id, due }) => [id, line('charge', due)]));
    fields.set(dear ?? '', line('charge', (jobs[1]?.due ?? 0) + 1));
    fields.set(released ?? '', line('release', 0));
    for (const id of [missing, waiting, late, jobs.at(-1)?.id]) fields.delete(id ?? '');
    await admin.hset(keys.ledger('acme', '2026-02'), Object.fromEntries(fields));
    await admin.hset(keys.ledger('acme', '2026-03'), { [twice ?? '']: fields.get(twice ?? '') ?? '' });
    const sums = [...fields.values(), fields.get(twice ?? '') ?? ''].map(
      (text) => LedgerEntry.parse(JSON.parse(text)).amount,
    );
    await admin.hset(
      keys.account('acme'),
      'EUR:spent',
      sums.reduce((sum, amount) => sum + amount, 0),
    );

    const books = booksOf(server.client('api'), keys, { keyring, blobs: server.folder, log });
    const [audit, other] = await auditLedgers(books, ['acme', 'other']);
    expect(audit).toMatchObject({ entries: 297, compared: 297 });
    const isIn = (part: string) => audit?.problems.filter((problem) => problem.includes(part)) ?? [];
    expect(isIn('counted as spent')).toHaveLength(2);
    expect(audit?.problems.filter((problem) => !problem.includes('counted as spent')).toSorted()).toEqual(
      [
        `${dear} is charged ${(jobs[1]?.due ?? 0) + 1} and its receipt comes to ${jobs[1]?.due}.`,
        `${released} is not charged and its receipt comes to ${jobs[2]?.due}.`,
        `${missing} has no entry and its receipt comes to ${jobs[3]?.due}.`,
        `${forged} is charged ${jobs[5]?.due} and a signature or digest in its receipt is wrong.`,
        `${twice} has two entries.`,
      ].toSorted(),
    );
    expect([isIn(right ?? ''), other]).toEqual([
      [],
      { tenant: 'other', entries: 0, compared: 0, sums: [], problems: [] },
    ]);
    // Without the archive nothing is known of these jobs: Redis has none of them.
    expect(await auditLedger({ ...books, archive: undefined }, 'acme')).toMatchObject({ entries: 297, compared: 0 });
  });

  test('stays in Redis where a statement about it is false, forged or no statement', async () => {
    await using server = await TestRedis.start();
    const sums = await aLedger(server, 30);
    const { sequencer, requests, admin, redis, keys } = houseOf(server);
    const file = { sha256: '0'.repeat(64), bytes: 0 };
    const period = {
      tenant: 'acme',
      month: MONTH,
      entries: 30,
      sums: [
        { currency: 'EUR', charged: sums.EUR },
        { currency: 'USD', charged: sums.USD },
      ],
      jsonl: file,
      csv: file,
    };
    const stored = (statement: unknown, key = api, type = CLOSED_PERIOD_TYPE) =>
      encodeStored(signPayload(key, Buffer.from(JSON.stringify(statement)), type));
    for (const wrong of [
      stored({ ...period, entries: 29 }),
      stored({ ...period, sums: period.sums.slice(1) }),
      stored({ ...period, sums: period.sums.map((sum) => ({ ...sum, charged: sum.charged + 1 })) }),
      stored({ ...period, more: 1 }),
      stored('nothing'),
      stored(period, newKey()),
      stored(period, api, 'application/vnd.in-toto+json'),
      'x'.repeat(100_000),
      '',
    ]) {
      await redis.hsetnx(keys.logRequests, 'ledger acme', wrong);
      await requests.look();
      expect(await admin.exists(keys.logRequests)).toBe(0);
    }
    await sequencer.stop();
    expect(await admin.hlen(keys.ledger('acme', MONTH))).toBe(30);
    expect(await admin.hgetall(keys.logDocuments)).toEqual({});
  });
});
