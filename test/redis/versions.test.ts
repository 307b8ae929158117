import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CatalogModel } from '../../src/core/catalog/catalog.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { LAYOUT, requireLayout } from '../../src/ground/redis/layout.ts';
import { decodeStored, encodeStored, signPayload } from '../../src/proof/receipts/dsse.ts';
import { Courtroom } from '../support/courtroom.ts';
import { NOOP_MODEL } from '../support/pipeline.ts';
import { newKey } from '../support/sample-receipts.ts';
import { TestRedis } from '../support/redis.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await TestRedis.start();
});
afterAll(() => server[Symbol.asyncDispose]());

describe('requireLayout', () => {
  test('the first role that may notes the layout, and every role of this version goes on', async () => {
    const { keys } = server;
    await requireLayout(server.client('worker.default'), keys, false);
    expect(await server.admin.get(keys.layout)).toBeNull();
    await requireLayout(server.client('attestor'), keys, true);
    await requireLayout(server.client('api'), keys, true);
    await requireLayout(server.client('worker.default'), keys, false);
    expect(await server.admin.get(keys.layout)).toBe(LAYOUT);
  });

  test('no role works on keys of another layout, and none writes over it', async () => {
    const { keys } = server;
    for (const found of ['2', '0', 'x']) {
      await server.admin.set(keys.layout, found);
      for (const user of ['api', 'attestor', 'worker.default'] as const)
        await expect(requireLayout(server.client(user), keys, !user.startsWith('worker'))).rejects.toMatchObject({
          code: 'layout_unknown',
          message: `The keys in Redis are of layout ${found}, and this version knows layout 1.`,
        });
      expect(await server.admin.get(keys.layout)).toBe(found);
    }
    await server.admin.del(keys.layout);
  });

  test('where the rules of a Redis user are older, it says what to do', async () => {
    await server.admin.call('ACL', 'SETUSER', 'older', 'on', '>secret', '~nothing', '+@all');
    const redis = server.client('admin').duplicate({ username: 'older', password: 'secret' });
    await expect(requireLayout(redis, server.keys, true)).rejects.toMatchObject({
      code: 'redis_unfit',
      hint: 'write them anew with countersign acl, before the first role is updated',
    });
    redis.disconnect();
  });
});

describe('a judge of this version', () => {
  const later = (stored: string, key: SigningKey, type: string) => {
    const payload = decodeStored(Buffer.from(stored))?.payload.toString() ?? '';
    return encodeStored(signPayload(key, Buffer.from(payload.replace(/urn:countersign:\w+:v1/, type))));
  };

  test('puts evidence and tickets of a later one aside, and holds nothing against their worker', async () => {
    await using room = await Courtroom.open(server, CatalogModel.parse(NOOP_MODEL));
    const { file, evidence } = await room.file({ recompute: 0 });
    expect(evidence.payload.toString()).toContain('urn:countersign:evidence:v1');
    const text = later(encodeStored(evidence), room.worker, 'urn:countersign:evidence:v2');
    await expect(room.judge.judgeQuickly({ ...file, statement: { kind: 'stored', text } })).rejects.toMatchObject({
      code: 'document_unknown',
    });
    const ticket = later(file.ticket, newKey(), 'urn:countersign:ticket:v2');
    await expect(room.judge.judgeQuickly({ ...file, ticket })).rejects.toMatchObject({ code: 'document_unknown' });
    expect((await room.judge.judgeQuickly(file)).kind).toBe('confirmed');
  });

  test('passes over what another worker signed as of a later version, or for another attempt', async () => {
    await using room = await Courtroom.open(server, CatalogModel.parse(NOOP_MODEL));
    const { file, evidence } = await room.file({ recompute: 0 });
    const other = await room.file({ recompute: 0 });
    for (const text of [
      later(encodeStored(evidence), newKey(), 'urn:countersign:evidence:v2'),
      later(encodeStored(other.evidence), room.worker, 'urn:countersign:evidence:v2'),
      later(encodeStored(evidence), room.worker, 'urn:countersign:other:v2'),
    ])
      expect(await room.judge.judgeQuickly({ ...file, statement: { kind: 'stored', text } })).toEqual({
        kind: 'ignored',
      });
  });
});
