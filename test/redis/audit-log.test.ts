import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseEntry, type AuditAct } from '../../src/core/audit/audit-entry.ts';
import { AuditFiles } from '../../src/core/audit/audit-files.ts';
import { SEGMENT, AuditLog } from '../../src/core/audit/audit-log.ts';
import { AuditKeeper } from '../../src/core/confirmation/audit-keeper.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { TestRedis } from '../support/redis.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

let server: TestRedis;
let folder: string;

beforeAll(async () => {
  server = await TestRedis.start();
  folder = mkdtempSync(join(tmpdir(), 'cs-audit-'));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const act = (target: string, tenant: string | null = null): AuditAct => ({
  by: 'test',
  action: 'x',
  target,
  tenant,
  detail: {},
});
const auditOf = () => new AuditLog(server.client('api'), server.keys);
const files = () => new AuditFiles(new FolderTree(folder));

async function textsOf(audit: AuditLog): Promise<string[]> {
  const { entries } = await audit.head();
  const texts: string[] = [];
  for (let at = 0; at < entries; at += SEGMENT)
    texts.push(...(await audit.read(files(), at, Math.min(entries, at + SEGMENT))));
  return texts;
}

describe('the audit log in Redis', () => {
  test('many writers at once: every act has one number, every change is made once, and the chain has no gap', async () => {
    const [one, two, three] = [auditOf(), auditOf(), auditOf()];
    const key = server.keys.tenant('counted');
    await Promise.all(
      Array.from({ length: 300 }, (_, n) =>
        (n % 3 === 0 ? one : n % 3 === 1 ? two : three).with(act(`${n}`, n % 2 === 0 ? 'even' : 'odd'), [
          ['HINCRBY', key, 'changes', 1],
        ]),
      ),
    );
    expect(await server.client().hget(key, 'changes')).toBe('300');
    const texts = await textsOf(auditOf());
    expect(texts).toHaveLength(300);
    texts.forEach((text, n) => {
      expect(parseEntry(text)).toMatchObject({ n, prev: n === 0 ? '0'.repeat(64) : sha256Hex(texts[n - 1] ?? '') });
    });
    expect(new Set(texts.map((text) => parseEntry(text)?.target)).size).toBe(300);
    const page = await auditOf().list(files(), { limit: 100, tenant: 'even' });
    expect(page.entries).toHaveLength(100);
    expect(new Set(page.entries.map(({ tenant }) => tenant))).toEqual(new Set(['even']));
    const rest = await auditOf().list(files(), { limit: 100, tenant: 'even', before: page.next });
    expect(rest.entries).toHaveLength(50);
  });

  test('nothing is recorded where nothing was done, and nothing done where the key is there already', async () => {
    const before = (await auditOf().head()).entries;
    const key = server.keys.tenant('once');
    const set = [['HSETNX', key, 'createdAt', 'now']] as const;
    const made = await Promise.all(Array.from({ length: 20 }, () => auditOf().with(act('once'), set, key)));
    expect(made.filter(Boolean)).toHaveLength(1);
    expect((await auditOf().head()).entries).toBe(before + 1);
  });

  // Who attacks: whoever holds the Redis login of the API. What they can do: write ahead. What they cannot:
  // undo.
  test('the login of the API can neither change, delete, trim nor expire an entry; what it writes ahead shows and stops nobody', async () => {
    const redis = server.client('api');
    const { keys } = server;
    const before = await textsOf(auditOf());
    for (const command of [
      ['HSET', keys.audit(0), '0', 'x'],
      ['HDEL', keys.audit(0), '0'],
      ['DEL', keys.audit(0)],
      ['UNLINK', keys.audit(0)],
      ['SET', keys.audit(0), 'x'],
      ['PEXPIRE', keys.audit(0), '1'],
      ['RENAME', keys.audit(0), keys.tenants],
      ['HINCRBY', keys.audit(0), '0', '1'],
      ['XADD', keys.audit(0), '*', 'a', 'b'],
      ['SET', keys.auditBase, '5 '],
      ['EVAL', `return redis.call('HSET', '${keys.audit(0)}', '0', 'x')`, '0'],
    ] as const) {
      const [name, ...words] = command;
      await expect(redis.call(name, ...words)).rejects.toThrow(/NOPERM|permission|access/i);
    }
    expect(await redis.hsetnx(keys.audit(0), '0', 'x')).toBe(0);
    const ahead = before.length + 2;
    expect(await redis.hsetnx(keys.audit(0), String(ahead), 'forged')).toBe(1);
    for (const target of ['a', 'b', 'c', 'd']) await auditOf().note(act(target));
    const after = await textsOf(auditOf());
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after[ahead]).toBe('forged');
    expect(after.flatMap((text) => parseEntry(text)?.target ?? []).slice(-4)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a Redis that comes back older is noticed by whoever wrote, and the log goes on where it ends', async () => {
    const audit = auditOf();
    await audit.note(act('kept'));
    const admin = server.client();
    const { entries } = await audit.head();
    await audit.note(act('lost'));
    await audit.note(act('lost too'));
    await admin.hdel(server.keys.audit(0), String(entries), String(entries + 1));
    await audit.note(act('next'));
    const [last] = (await auditOf().list(files(), { limit: 1 })).entries;
    expect(last).toMatchObject({ n: entries, target: 'next' });
  });

  test('old segments leave Redis to files without a gap, each under a head that was logged before, and again after a crash', async () => {
    const { keys } = server;
    const admin = server.client();
    const writer = auditOf();
    for (let { entries } = await writer.head(); entries < 3 * SEGMENT + 5; entries += 1)
      void writer.note(act(`many ${entries}`, entries === 1_500 ? 'old' : null));
    await writer.note(act('end'));
    const all = await textsOf(auditOf());
    const logged: string[] = [];
    const keeperOf = () =>
      new AuditKeeper({
        redis: server.client('attestor'),
        keys,
        audit: new AuditLog(server.client('attestor'), keys, keys.log),
        files: files(),
        sequencer: { logDocument: (kind, _, payload) => Promise.resolve(logged.push(`${kind} ${String(payload)}`)) },
        keyId: 'k',
        logger: createLogger('test', 'fatal'),
        keptSegments: 1,
      });
    // A file that a crash left half written is written again.
    await files().write(0, all.slice(0, SEGMENT));
    writeFileSync(join(folder, 'audit', '000000000.jsonl'), 'half');
    rmSync(join(folder, 'audit', '000000000.jsonl'));
    await keeperOf().look();
    expect(await admin.exists(keys.audit(0), keys.audit(1))).toBe(0);
    expect(readFileSync(join(folder, 'audit', '000000001.jsonl'), 'utf8').split('\n')).toHaveLength(SEGMENT + 1);
    expect(await textsOf(auditOf())).toEqual(all);
    expect(logged.length).toBeGreaterThan(2);
    await writer.note(act('after'));
    expect((await auditOf().head()).entries).toBe(all.length + 1);
    const found = await auditOf().list(files(), { limit: 1, tenant: 'old', before: 1_600 });
    expect(found.entries).toMatchObject([{ n: 1_500 }]);
    // A Redis that lost everything goes on after what the files have.
    const segments = await files().count();
    await admin.unlink(keys.auditBase, keys.audit(segments));
    await keeperOf().look();
    await auditOf().note(act('reborn'));
    const [reborn] = (await auditOf().list(files(), { limit: 1 })).entries;
    expect(reborn).toMatchObject({
      n: segments * SEGMENT,
      target: 'reborn',
      prev: sha256Hex(all[segments * SEGMENT - 1] ?? ''),
    });
  });
});
