import { readFile, writeFile } from 'node:fs/promises';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { recoverLog } from '../../src/core/confirmation/log-recovery.ts';
import type { Sequencer } from '../../src/core/confirmation/sequencer.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { JobArchive, type Archived } from '../../src/core/jobs/job-archive.ts';
import { openRecord } from '../../src/core/jobs/job-record.ts';
import { publishedLog } from '../../src/core/jobs/published-log.ts';
import { auditLog, type LogSource } from '../../src/proof/tlog/log-audit.ts';
import { logEntry } from '../../src/proof/tlog/log-entry.ts';
import { LogFiles } from '../../src/proof/tlog/log-files.ts';
import { LogReader } from '../../src/proof/tlog/log-reader.ts';
import { noteKey } from '../../src/proof/tlog/signed-note.ts';
import { parseTilePath } from '../../src/proof/tlog/tile.ts';
import { formatProof } from '../../src/proof/tlog/tlog-proof.ts';
import { parsePolicy, verifyLogged } from '../../src/proof/tlog/tlog-policy.ts';
import { integer } from '../../src/ground/redis/reply.ts';
import { loadScript } from '../../src/ground/redis/script.ts';
import { until } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { ORIGIN, logPolicy, confirmations, publish, startSequencer } from '../support/sequencer.ts';
import { IS_LONG, sampleOf, wholeTest } from '../support/thorough.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

const policyOf = (key: SigningKey) => parsePolicy(logPolicy(key));

const folderOf = (server: TestRedis) => join(server.folder, 'log');
function sourceOf(server: TestRedis): LogSource {
  const files = new LogFiles(new FolderTree(folderOf(server)));
  return async (path) => {
    const tile = parseTilePath(path);
    return tile === undefined ? Buffer.from((await files.readCheckpoint()) ?? '') : files.readPrefix(tile);
  };
}
const readerOf = (server: TestRedis, key: SigningKey, redis = server.client('api')) =>
  new LogReader(
    new LogFiles(new FolderTree(folderOf(server))),
    [noteKey(ORIGIN, 'ed25519', key.public)],
    publishedLog(redis, server.keys),
  );

/** A log of `count` entries by one attestor. */
async function aLog(server: TestRedis, key: SigningKey, count: number) {
  const sequencer = startSequencer(server, server.client('attestor'), key);
  const logged = await confirmations(server, newKey(), count);
  for (let at = 0; at < count; at += 90) await publish(server, sequencer, logged.slice(at, at + 90));
  await sequencer.stop();
  return logged;
}

describe('the log', () => {
  test('a job that was given back from the disk gets no second place, nor another end, while it is not sealed', async () => {
    await using server = await TestRedis.start();
    const { admin, keys } = server;
    const key = newKey();
    const attestor = server.client('attestor');
    const files = new LogFiles(new FolderTree(folderOf(server)));
    const archive = new JobArchive(new FolderTree(folderOf(server)));
    const logged = await aLog(server, key, 3);
    const ids = logged.map(({ file }) => file.id);
    const older = startSequencer(server, attestor, key);
    expect((await older.lost(ids)).size).toBe(0);
    // As an older file has them: they wait for their verdicts.
    await admin.del(keys.log, keys.logTail, keys.unsealed);
    for (const id of ids) await admin.del(keys.record(id), keys.ruling(id));
    expect([...(await older.lost([...ids, 'job_of_now']))]).toEqual(ids);
    await older.stop();
    const trusted = [noteKey(ORIGIN, 'ed25519', key.public)];
    const parts = { redis: attestor, keys, files, archive, trusted, keepMs: 86_400_000 };
    expect(await recoverLog(parts)).toMatchObject({ restored: 3 });

    const next = startSequencer(server, attestor, key);
    expect(await next.place(logged)).toEqual([undefined, undefined, undefined]);
    const [more] = await confirmations(server, newKey(), 1);
    if (more !== undefined) await publish(server, next, [more]);
    await next.stop();
    const jobs: string[] = [];
    for await (const { job } of archive.read(0, 10)) if (job !== undefined) jobs.push(job.id);
    expect(jobs).toEqual([...ids, more?.file.id]);
  });

  test('a recovery that comes late gives nothing back once another has recovered the log', async () => {
    await using server = await TestRedis.start();
    const { admin, keys } = server;
    const key = newKey();
    const logged = await aLog(server, key, 3);
    const ids = logged.map(({ file }) => file.id);
    await admin.del(keys.log, keys.logTail, keys.unsealed);
    for (const id of ids) await admin.del(keys.record(id), keys.ruling(id));
    const partsOf = (archive: JobArchive) => ({
      redis: server.client('attestor'),
      keys,
      files: new LogFiles(new FolderTree(folderOf(server))),
      archive,
      trusted: [noteKey(ORIGIN, 'ed25519', key.public)],
      keepMs: 86_400_000,
    });
    const prompt = new JobArchive(new FolderTree(folderOf(server)));
    const late = new JobArchive(new FolderTree(folderOf(server)));
    late.read = async function* (from, to) {
      yield* prompt.read(from, to);
      // It has read what it is to give back; the other is through, and what it gave back is sealed by now.
      await recoverLog(partsOf(prompt));
      await admin.del(keys.unsealed, ...ids.map((id) => keys.record(id)));
    };
    expect(await recoverLog(partsOf(late))).toBeUndefined();
    expect(await admin.exists(keys.unsealed, keys.recovered, ...ids.map((id) => keys.record(id)))).toBe(0);
  });

  test('two attestors at once make one log: every verdict has one place, every proof verifies, and an audit finds it sound', async () => {
    await using server = await TestRedis.start();
    const key = newKey();
    const sequencers = [1, 2].map(() => startSequencer(server, server.client('attestor'), key));
    const all = await confirmations(server, newKey(), 700);
    // Both log every verdict, in different company and another order.
    const [there = [], back = []] = await Promise.all(
      sequencers.map(async (sequencer, which) => {
        const order = which === 0 ? all : all.toReversed();
        const places: (number | undefined)[] = [];
        for (let at = 0; at < order.length; at += 70) places.push(...(await sequencer.place(order.slice(at, at + 70))));
        return places;
      }),
    );
    expect([...there, ...back].every((index) => index !== undefined && index < 700)).toBe(true);
    await until(async () => (await server.admin.hget(server.keys.log, 'size')) === '700');
    await Promise.all(sequencers.map((sequencer) => sequencer.stop()));

    const admin = server.client();
    const reader = readerOf(server, key);
    const checkpoint = await reader.checkpoint();
    const places = new Set<number>();
    const proved = new Set(sampleOf(all, 7));
    for (const confirmation of all) {
      const { file, verdict } = confirmation;
      const record = openRecord((await admin.getBuffer(server.keys.record(file.id))) ?? Buffer.alloc(0));
      const { index = -1, salt = Buffer.alloc(0) } = record;
      places.add(index);
      if (!proved.has(confirmation)) continue;
      const proof = formatProof({ index, hashes: await reader.inclusion(index, 700), checkpoint });
      const entry = logEntry('verdict', verdict.keyId, verdict.payload, salt);
      expect(verifyLogged(policyOf(key), proof, entry)).toMatchObject({ index, size: 700 });
    }
    // The archive holds every record, in the order of the log, whichever attestor wrote it.
    const archived: Archived[] = [];
    for await (const item of new JobArchive(new FolderTree(folderOf(server))).read(0, 1_000)) archived.push(item);
    expect(archived.map(({ index }) => index)).toEqual(Array.from({ length: 700 }, (_, at) => at));
    const archivedAs = new Map(archived.map(({ job }) => [job?.id, job?.record]));
    for (const { file } of all) {
      const record = await admin.getBuffer(server.keys.record(file.id));
      if (record === null || archivedAs.get(file.id)?.equals(record) !== true)
        throw new Error(`The archive has another record of ${file.id}.`);
    }
    expect(places.size).toBe(700);
    expect(await auditLog(sourceOf(server), policyOf(key), [checkpoint])).toMatchObject({
      size: 700,
      bundles: 3,
      tiles: 4,
      continues: [700],
    });
  });

  test('a flipped or torn tile or entry is not served, and an audit names it', async () => {
    await using server = await TestRedis.start();
    const key = newKey();
    await aLog(server, key, 300);
    const full = { level: 0, index: 0, width: 256 } as const;
    expect(await readerOf(server, key).tile(full)).toHaveLength(256 * 32);
    // The copy of unfinished tiles is for whoever has the folder only; they are served from where the order
    // stands.
    for (const [file, tile] of [
      ['tile/0/000', full],
      ['tile/entries/000', { level: 'entries', index: 0, width: 256 }],
      ['tile/1/000.p/1', { level: 1, index: 0, width: 1 }],
      ['tile/entries/001.p/44', undefined],
      ['tile/0/001.p/44', undefined],
    ] as const) {
      const path = join(folderOf(server), file);
      const good = await readFile(path);
      const flipped = Buffer.from(good);
      flipped[good.length - 7] = (flipped[good.length - 7] ?? 0) ^ 1;
      for (const bad of [flipped, good.subarray(0, good.length - 5)]) {
        await writeFile(path, bad);
        if (tile !== undefined) await expect(readerOf(server, key).tile(tile)).rejects.toThrow(/torn|do not lead/);
        await expect(auditLog(sourceOf(server), policyOf(key), [])).rejects.toThrow(/is not that of|torn|do not lead/);
      }
      await writeFile(path, good);
    }
    const last = { level: 'entries', index: 1, width: 44 } as const;
    const { logTail } = server.keys;
    const admin = server.client();
    const tail = await admin.lrange(logTail, 0, -1);
    for (const bad of [tail.with(20, tail[21] ?? ''), tail.slice(1), tail.slice(0, 20)]) {
      await admin
        .multi()
        .del(logTail)
        .rpush(logTail, ...bad)
        .exec();
      await expect(readerOf(server, key).tile(last)).rejects.toThrow(/do not lead|are missing/);
    }
    await admin
      .multi()
      .del(logTail)
      .rpush(logTail, ...tail)
      .exec();
    expect(await readerOf(server, key).tile(last)).toBeDefined();
    // A narrower tile is the beginning of the one that took its place; beyond the end there is nothing.
    expect(await readerOf(server, key).tile({ level: 0, index: 1, width: 3 })).toHaveLength(96);
    expect(await readerOf(server, key).tile({ level: 0, index: 1, width: 45 })).toBeUndefined();
    expect(await readerOf(server, key).tile({ level: 3, index: 0, width: 1 })).toBeUndefined();
  });

  test('a log that was truncated, rewritten or forked does not go on from the checkpoint that somebody kept', async () => {
    const key = newKey();
    await using first = await TestRedis.start();
    await aLog(first, key, 270);
    const kept = await readerOf(first, key).checkpoint();
    await using other = await TestRedis.start();
    await aLog(other, key, 100);
    await expect(auditLog(sourceOf(other), policyOf(key), [kept])).rejects.toThrow('truncated');
    await aLog(other, key, 200);
    await expect(auditLog(sourceOf(other), policyOf(key), [kept])).rejects.toThrow('rewritten or forked');
    await expect(auditLog(sourceOf(first), policyOf(newKey()), [])).rejects.toThrow('does not verify');
    expect((await auditLog(sourceOf(first), policyOf(key), [kept])).size).toBe(270);
  });

  wholeTest(
    'is read while it grows: whoever asks is never told that a tile is torn that only gave way to a wider one',
    async () => {
      await using server = await TestRedis.start();
      const key = newKey();
      const sequencer = startSequencer(server, server.client('attestor'), key);
      // Beyond 256 a tile is whole, and gives way to none.
      const logged = await confirmations(server, newKey(), IS_LONG ? 270 : 100);
      const grown = new AbortController();
      let read = 0;
      const writing = (async () => {
        for (const [at, one] of logged.entries()) {
          await publish(server, sequencer, [one]);
          // However fast this machine is, somebody reads meanwhile.
          await until(() => read * 4 >= at);
        }
        grown.abort();
      })();
      await publish(server, sequencer, logged.slice(0, 1));
      const redis = server.client('api');
      while (!grown.signal.aborted) {
        // It looks at whatever moment, and leaves the one thread to the writer in between.
        await sleep(randomInt(20));
        const reader = readerOf(server, key, redis);
        expect(await reader.inclusion(0, 1)).toEqual([]);
        expect(await reader.tile({ level: 'entries', index: 0, width: 1 })).toBeDefined();
        read += 1;
      }
      await writing;
      await sequencer.stop();
      expect(read).toBeGreaterThan(20);
    },
  );

  /** A sequencer over a Redis whose log was changed says so, and whatever it is given is never published. */
  async function expectDiverged(server: TestRedis, sequencer: Sequencer): Promise<void> {
    const admin = server.client();
    const before = await admin.hget(server.keys.log, 'size');
    const more = await confirmations(server, newKey(), 5);
    void sequencer.place(more);
    await until(() => Promise.resolve(sequencer.problem === 'log_diverged'));
    // Three more looks at the log, of which only the sequencer asks the length.
    const looks = async () => Number(/cmdstat_llen:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0);
    const seen = await looks();
    await until(async () => (await looks()) >= seen + 3);
    expect(await admin.hget(server.keys.log, 'size')).toBe(before);
    expect(sequencer.problem).toBe('log_diverged');
  }

  test('an attestor that starts on a Redis which has lost the log does not fork it', async () => {
    await using server = await TestRedis.start();
    const key = newKey();
    await aLog(server, key, 10);
    await server.client().del(server.keys.log, server.keys.logTail);
    const sequencer = startSequencer(server, server.client('attestor'), key);
    await expectDiverged(server, sequencer);
    await sequencer.stop();
  });

  test.each([
    [1, 'an entry that was signed and not copied'],
    [10, 'a few entries'],
    [300, 'more than a tile'],
  ])(
    'an attestor that runs on while Redis comes back without its last %i entries does not fork it: %s',
    async (lost) => {
      await using server = await TestRedis.start();
      const [key, admin] = [newKey(), server.client()];
      const sequencer = startSequencer(server, server.client('attestor'), key);
      const logged = await confirmations(server, newKey(), 700);
      await publish(server, sequencer, logged.slice(0, 700 - lost));
      const older = await Promise.all([server.keys.log, server.keys.logTail].map((name) => admin.dumpBuffer(name)));
      const later = logged.slice(700 - lost);
      // A checkpoint each, as long as they are few.
      const step = Math.ceil(lost / 20);
      for (let at = 0; at < lost; at += step) await publish(server, sequencer, later.slice(at, at + step));
      // At once, as a Redis that was started again has both: the sequencer looks all the while.
      const restored = admin.multi();
      for (const [at, name] of [server.keys.log, server.keys.logTail].entries())
        restored.restore(name, 0, older[at] ?? Buffer.alloc(0), 'REPLACE');
      await restored.exec();
      await expectDiverged(server, sequencer);
      // Neither does one that starts anew, and the disk has what was published.
      await sequencer.stop();
      const next = startSequencer(server, server.client('attestor'), key);
      await expectDiverged(server, next);
      await next.stop();
      const signed = await new JobArchive(new FolderTree(folderOf(server))).newestCheckpoint();
      expect(signed).toContain('\n700\n');
    },
  );

  test('other entries in the place of those that were signed are never published', async () => {
    await using server = await TestRedis.start();
    const [key, admin] = [newKey(), server.client()];
    const sequencer = startSequencer(server, server.client('attestor'), key);
    await publish(server, sequencer, await confirmations(server, newKey(), 20));
    const older = await Promise.all([server.keys.log, server.keys.logTail].map((name) => admin.dumpBuffer(name)));
    await publish(server, sequencer, (await confirmations(server, newKey(), 40)).slice(20));
    await sequencer.stop();
    for (const [at, name] of [server.keys.log, server.keys.logTail].entries())
      await admin.restore(name, 0, older[at] ?? Buffer.alloc(0), 'REPLACE');
    // As many again, and more, before anybody looks.
    await admin.rpush(server.keys.logTail, ...Array.from({ length: 60 }, (_, n) => `another ${n}`));
    const next = startSequencer(server, server.client('attestor'), key);
    await expectDiverged(server, next);
    await next.stop();
  });

  test('a checkpoint of more than Redis still has is not published', async () => {
    await using server = await TestRedis.start();
    const [admin, { keys }] = [server.client(), server];
    const publishScript = loadScript(new URL('../../src/core/confirmation/lua/publish.lua', import.meta.url), integer);
    const published = (size: number) => publishScript.run(admin, [keys.log, keys.logTail], [size, `note of ${size}`]);
    await admin.rpush(keys.logTail, ...Array.from({ length: 300 }, (_, n) => `entry ${n}`));
    expect(await published(290)).toBe(290);
    // Redis came back older while it was made.
    expect(await published(301)).toBe(290);
    expect(await admin.hgetall(keys.log)).toEqual({ size: '290', checkpoint: 'note of 290' });
    expect(await published(300)).toBe(300);
  });

  test('holds no text and no digest that could be guessed: only the receipt has the salt', async () => {
    await using server = await TestRedis.start();
    const key = newKey();
    const logged = await aLog(server, key, 20);
    const bundle = (await readFile(join(folderOf(server), 'tile/entries/000.p/20'))).toString('latin1');
    const { createHash } = await import('node:crypto');
    for (const { verdict } of logged) {
      expect(bundle).not.toContain(verdict.payload.toString());
      for (const encoding of ['hex', 'base64'] as const)
        expect(bundle).not.toContain(createHash('sha256').update(verdict.payload).digest(encoding));
    }
  });
});
