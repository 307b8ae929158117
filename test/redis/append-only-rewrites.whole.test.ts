import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { AppendOnlyRewrites } from '../../src/core/confirmation/append-only-rewrites.ts';
import { createLogger, type Logger } from '../../src/ground/logging/logger.ts';
import { until } from '../support/pipeline.ts';
import { SentinelSet } from '../support/redis-set.ts';
import { TestRedis } from '../support/redis.ts';
import { tracesOf } from '../support/traces.ts';

const CANARY = 'Zygmunt hides quinquiremes in Xanadu';

let server: TestRedis;
beforeAll(async () => {
  server = await TestRedis.start();
});
afterAll(() => server[Symbol.asyncDispose]());

/** What an attestor has of it, with its own rights; and what it says. */
function attestor(
  everyMs: number,
  of: TestRedis | SentinelSet = server,
): { rewrites: AppendOnlyRewrites; said: string[] } {
  const said: string[] = [];
  const logger: Logger = createLogger('test', 'silent');
  logger.info = (message: string) => void said.push(message);
  logger.warn = (message: string) => void said.push(message);
  const parts = { redis: of.client('attestor'), keys: of.keys, access: of.access('attestor'), everyMs, logger };
  return { rewrites: new AppendOnlyRewrites(parts), said };
}

/** Writes a text and removes it, as an erasure does: of Redis' files the one that is appended to has it. */
async function erase(admin = server.admin, { keys, folder }: TestRedis | SentinelSet = server): Promise<void> {
  await admin.set(`${keys.prefix}planted`, CANARY);
  await admin.multi().unlink(`${keys.prefix}planted`).hincrby(keys.rewrite, 'wanted', 1).exec();
  await until(() => Promise.resolve(tracesOf(folder, CANARY).length > 0));
}
const counts = () => server.admin.hmget(server.keys.rewrite, 'wanted', 'written');

describe('AppendOnlyRewrites', () => {
  test('what was erased goes from the file, also where the attestor that began it died', async () => {
    await erase();
    const [first, second] = [attestor(1), attestor(1)];
    // It has told Redis, and never looks again.
    await first.rewrites.look();
    expect(await counts()).toEqual(['1', null]);
    second.rewrites.start();
    await until(async () => (await counts())[1] === '1');
    await second.rewrites.stop();
    await until(() => Promise.resolve(tracesOf(server.folder, CANARY).length === 0));
    expect(second.said).toEqual(['Redis has written its append-only file anew after erasures']);
  });

  test('it is not begun twice in a while, however many attestors look and jobs are erased', async () => {
    await server.admin.hdel(server.keys.rewrite, 'begun');
    const all = [attestor(600_000), attestor(600_000), attestor(600_000)];
    const begun = async () => Number(/aof_rewrites:(\d+)/.exec(await server.admin.info('persistence'))?.[1]);
    const before = await begun();
    const look = () => Promise.all(all.map(({ rewrites }) => rewrites.look()));
    await erase();
    await until(async () => {
      await look();
      const [wanted, written] = await counts();
      return wanted === written;
    });
    for (let times = 0; times < 5; times += 1) {
      await erase();
      await look();
    }
    expect(await begun()).toBe(before + 1);
    expect(all.flatMap(({ said }) => said)).toHaveLength(1);
  });

  test('a server that allows no such command is left alone, and that is said once', async () => {
    await server.admin.hdel(server.keys.rewrite, 'begun');
    await server.admin.acl('SETUSER', 'attestor', '-bgrewriteaof');
    const { rewrites, said } = attestor(1);
    for (let looks = 0; looks < 5; looks += 1) await rewrites.look();
    await server.admin.acl('SETUSER', 'attestor', '+bgrewriteaof');
    expect(said).toEqual([expect.stringMatching(/does not allow BGREWRITEAOF/)]);
  });

  test('replicas write theirs anew too, once they have heard of what was erased', async () => {
    await using set = await SentinelSet.start();
    const admin = set.client();
    await erase(admin, set);
    const { rewrites, said } = attestor(1, set);
    const files = (at: number) => tracesOf(join(set.folder, String(set.nodes[at]?.port)), CANARY);
    await until(() => Promise.resolve([0, 1, 2].every((at) => files(at).length > 0)));
    rewrites.start();
    await until(() => Promise.resolve(said.length > 0));
    await until(() => Promise.resolve([0, 1, 2].every((at) => files(at).length === 0)));
    await rewrites.stop();
    expect(said).toEqual(['Redis has written its append-only file anew after erasures']);
  });
});
