import { describe, expect, test } from '@jest/globals';
import { Intake } from '../../src/core/confirmation/intake.ts';
import { Lookout } from '../../src/core/confirmation/lookout.ts';
import { newsIn } from '../../src/core/confirmation/news.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { admissionTo } from '../support/admission.ts';
import { attestorHands } from '../support/attestor-hands.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { completion, until } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { api } from '../support/sample-receipts.ts';
import { SUBMITTER } from '../support/submitter.ts';

const FLOOD = 400;

/** Jobs whose tickets the attestor of these tests trusts. */
function house(server: TestRedis) {
  const admission = admissionTo(server, undefined, api);
  const body = parse(SubmitJob, completion('x'));
  const submit = async (tenant = 'loud') => (await admission.submit({ ...SUBMITTER, tenant }, body)).id;
  return { keys: server.keys, submit };
}

describe('an intake that is behind', () => {
  test('confirms what a tenant has handed in behind a flood of another long before that is through', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, submit } = house(server);
    const admin = server.client();
    const worker = new HandWorker(server.client('worker.default'), keys, hands.workerKey);
    const jobs = await Promise.all(Array.from({ length: FLOOD }, () => submit()));
    const last = await submit('quiet');
    const claims = await Promise.all([...jobs, last].map((id) => worker.claim(id)));
    // Each has an entry of its own, and the quiet tenant's stands behind all others.
    for (const claim of claims) await worker.commit(claim);
    const parts = { ...hands, keys, stream: keys.attest('default'), pool: 'default' };
    const logger = createLogger('test', 'fatal');
    // Two at once: what one has judged further back, the other may take in.
    const intakes = ['one', 'other'].map((consumer) => new Intake({ ...parts, consumer, logger }));
    for (const intake of intakes) intake.start();
    const places = await until(async () => {
      const logged = await Promise.all([...jobs, last].map((id) => admin.hget(keys.ruling(id), 'logged')));
      return logged.every((place) => place !== null) && logged.map((place) => Number(place.split(' ')[1]));
    });
    expect(places.at(-1)).toBeLessThan(FLOOD / 2);
    expect(new Set(places).size).toBe(FLOOD + 1);
    // What was judged before its turn came is acknowledged with its entry, like all else.
    await until(async () => (await admin.xlen(keys.attest('default'))) === 0);
    await Promise.all(intakes.map((intake) => intake.stop()));
  });
});

describe('what an intake sees further back in its mailbox', () => {
  test('is told by tenant, once, whatever else workers have written there', async () => {
    await using server = await TestRedis.start();
    const { keys, submit } = house(server);
    const [worker, attestor] = [server.client('worker.default'), server.client('attestor')];
    const mailbox = keys.attest('default');
    const [loud, quiet] = [await submit(), await submit('quiet')];
    const word = (id: string, epoch: number) => `e:${id}:${epoch}:${'a'.repeat(32)}`;
    const write = (id: string, ...words: string[]) => worker.xadd(mailbox, id, 'jobs', words.join(' '));
    await write('5-1', word(loud, 1));
    await write('5-2', `c:${loud}:1`, word(loud, 2), word(loud, 3), 'nonsense', 'e::', word(loud, 4));
    await write('5-3', ...Array.from({ length: 80 }, () => word(quiet, 9)));
    await worker.xadd(mailbox, '5-4', 'other', word(quiet, 9));
    await write('6-1', word(quiet, 1), word('job_0000unknown', 1));

    const lookout = new Lookout(attestor, keys, mailbox);
    const told = (most: number) => lookout.take(most).map((news) => [news.id, 'epoch' in news ? news.epoch : 0]);
    await lookout.look('5-1');
    // What was taken in meanwhile is not seen a second time, and what is no news is passed over.
    expect(lookout.leftOf(newsIn(word(loud, 3)))).toHaveLength(1);
    expect([told(2), told(9)]).toEqual([
      [
        [loud, 2],
        [quiet, 1],
      ],
      [[loud, 4]],
    ]);
    lookout.judged(newsIn(word(quiet, 1)));
    expect(lookout.leftOf(newsIn(`${word(quiet, 1)} ${word(loud, 4)}`))).toEqual(newsIn(word(loud, 4)));
    await lookout.look('5-2');
    expect(told(9)).toEqual([]);
    // One that is made anew begins with smaller ids.
    await server.client().del(mailbox);
    await write('2-1', word(quiet, 2));
    await lookout.look('1-0');
    expect(told(9)).toEqual([]);
    lookout.forget();
    await lookout.look('1-0');
    expect(told(9)).toEqual([[quiet, 2]]);
  });
});
