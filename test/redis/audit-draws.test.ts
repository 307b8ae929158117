import { expect, test } from '@jest/globals';
import { AuditDraws } from '../../src/core/confirmation/audit-draws.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { newKey } from '../support/sample-receipts.ts';
import { startSequencer } from '../support/sequencer.ts';
import { TestRedis } from '../support/redis.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 0, 15);
const dayOf = (day: number) => new Date(NOW + day * DAY).toISOString().slice(0, 10);

test("after a change of the log's key, days that it has committed to are drawn and told as before", async () => {
  await using server = await TestRedis.start();
  const [redis, { keys }, before, after] = [server.client('attestor'), server, newKey(), newKey()];
  const sequencer = startSequencer(server, redis, before);
  const [old, changed] = [new AuditDraws(before), new AuditDraws(after, before)];
  const drawn = (draws: AuditDraws, day: number) =>
    Array.from({ length: 200 }, (_, at) => draws.isDrawn('recompute', 0.5, `job_${at}`, 1, NOW + day * DAY));
  const signers = async () =>
    Object.values(await redis.hgetall(keys.logDocuments))
      .map((place) => place.split(' '))
      .toSorted(([one], [other]) => Number(one) - Number(other))
      .map(([, , keyId]) => keyId);

  await old.keep(sequencer, redis, keys, NOW);
  await changed.keep(sequencer, redis, keys, NOW + 3_600_000);
  for (const day of [0, 1]) expect(drawn(changed, day)).toEqual(drawn(old, day));
  expect(drawn(changed, 2)).toEqual(drawn(new AuditDraws(after), 2));
  expect(drawn(changed, 2)).not.toEqual(drawn(old, 2));
  // Both days are committed to once, by the key before; those that follow by the new one.
  expect(await signers()).toEqual([before.public.id, before.public.id]);
  await changed.keep(sequencer, redis, keys, NOW + 2 * DAY);
  expect(await signers()).toEqual([before, before, after, after].map(({ public: { id } }) => id));
  // What is told later is what was committed to.
  await changed.keep(sequencer, redis, keys, NOW + 6 * DAY);
  const told = await redis.hgetall(keys.logDraws);
  for (const day of [0, 1, 2, 3]) {
    const secretSha256 = sha256Hex(Buffer.from(told[dayOf(day)] ?? '', 'hex'));
    const name = `draw ${sha256Hex(JSON.stringify({ day: dayOf(day), secretSha256 }))}`;
    expect(await redis.hexists(keys.logDocuments, name)).toBe(1);
  }
  await sequencer.stop();
});
