import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DEFAULT_HINT } from '../../src/core/engines/time-hint.ts';
import { duePlace } from '../../src/core/forecast/due-place.ts';
import { readDuePlace } from '../../src/core/forecast/due-places.ts';
import { keepLearned } from '../../src/core/forecast/learned.store.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { admissionTo } from '../support/admission.ts';
import { completion, until } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { OFFER } from '../support/sample-offer.ts';
import { SUBMITTER } from '../support/submitter.ts';

const QUEUE = 'default.noop';

test('the script finds the place that the arithmetic says, whatever is due', async () => {
  await using server = await TestRedis.start();
  const { keys } = server;
  const [api, admin] = [server.client('api'), server.client()];
  const figures = { offer: { ...OFFER, perEndMs: 90 }, slots: 4, perCostMs: 70, cost: 3, weight: 2 };
  const flow = fc.record({
    weight: fc.integer({ min: 1, max: 5 }),
    charge: fc.double({ min: 0.1, max: 9, noNaN: true }),
    due: fc.array(fc.nat(20_000), { maxLength: 30 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(flow, { minLength: 1, maxLength: 5 }), fc.boolean(), async (flows, isOver) => {
      // What is far away is served meanwhile whatever the clock says, and what is over was not served at all.
      const notBeforeMs = isOver ? 1_000_000_000_000 : Date.now() + 3_600_000;
      const writes = admin.pipeline().unlink(keys.later(QUEUE), keys.dueTurns(QUEUE));
      for (const [number, { weight, charge, due }] of flows.entries())
        for (const [at, before] of due.entries()) {
          const id = `job_${number}_${at}`;
          const time = String(notBeforeMs - before).padStart(16, '0');
          writes.hset(keys.job(id), { charge, weight });
          writes.zadd(keys.later(QUEUE), notBeforeMs - before, id);
          writes.zadd(keys.dueTurns(QUEUE), 0, `flow${number} ${time} ${id}`);
        }
      await writes.exec();
      const job = { id: '', queue: QUEUE, flow: 'flow0', band: 'standard', notBeforeMs } as const;
      const found = await readDuePlace({ redis: api, keys }, figures, job);
      const leadMs = isOver ? 0 : 3_600_000;
      const inLast = (due: readonly number[], ms: number) =>
        due.filter((before) => before <= (ms < leadMs ? ms : Infinity)).length;
      const expected = duePlace({
        leadMs,
        slots: 4,
        perEndMs: 90,
        perCostMs: 70,
        now: { ahead: 0, distance: 0, ties: 0 },
        within: (ms) =>
          inLast(
            flows.flatMap(({ due }) => due),
            ms,
          ),
        flows: flows.map(({ weight, charge, due }, number) => ({
          isOwn: number === 0,
          ...(number === 0 ? { weight: 2, charge: 1.5 } : { weight, charge }),
          within: (ms) => inLast(due, ms),
        })),
      });
      expect(found.ends).toBeCloseTo(expected.ends, 6);
      expect(found.distance).toBeCloseTo(expected.distance, 6);
    }),
    { numRuns: 40 },
  );
});

test('a burst of 1,000 for one time is admitted as far as it fits, and who comes beside it is not refused', async () => {
  await using server = await TestRedis.start();
  const { keys } = server;
  const admin = server.client();
  const size = { task: 'completion', maxTokens: 63, inputBytes: 14 } as const;
  await keepLearned({ redis: admin, keys }, QUEUE, DEFAULT_HINT, (times) => {
    for (let at = 0; at < 100; at += 1)
      times.learn({ size, flow: 'x', tookMs: 1_000, cost: times.costOf(size, 'x'), afterMs: 1, atMs: 0 });
  });
  // Ten slots and a second for each job: 200 of them in twenty seconds.
  await admin.hset(keys.pace(QUEUE), 'slots', 10);
  const admission = admissionTo(server);
  const beginsMs = Date.now() + 600_000;
  const ask = (tenant: string, fromMs = beginsMs) => {
    const not_before = new Date(fromMs).toISOString();
    const deadline_ms = fromMs + 20_000 - Date.now();
    const body = parse(SubmitJob, completion('x', { not_before, deadline_ms, params: { max_tokens: 63 } }));
    return admission.submit({ ...SUBMITTER, tenant }, body).then(
      () => 'admitted',
      (error: unknown) => (error instanceof CodedError ? error.code : error),
    );
  };
  /** Until the figures of the queue were read, nothing is known of workers, and nobody is refused. */
  const isRead = () =>
    until(async () => {
      const now = parse(SubmitJob, completion('x', { params: { max_tokens: 63 } }));
      return (await admission.submit({ ...SUBMITTER, tenant: 'first' }, now)).outlook !== undefined;
    });
  const burst: unknown[] = [];
  while (burst.length < 1_000) {
    await isRead();
    burst.push(...(await Promise.all(Array.from({ length: 50 }, () => ask('burst')))));
  }
  const admitted = burst.filter((said) => said === 'admitted').length;
  // Nine tenths of the time are counted on, less what a job itself takes and how far that may be off.
  expect(admitted).toBeGreaterThan(100);
  expect(admitted).toBeLessThan(180);
  expect(new Set(burst)).toEqual(new Set(['admitted', 'share_exceeded']));
  await isRead();
  expect(await Promise.all(Array.from({ length: 20 }, () => ask('beside')))).toEqual(Array(20).fill('admitted'));
  expect(await ask('burst')).toBe('share_exceeded');
  // Another time is another matter.
  expect(await ask('burst', beginsMs + 60_000)).toBe('admitted');
  expect(await ask('burst', beginsMs - 60_000)).toBe('admitted');
});
