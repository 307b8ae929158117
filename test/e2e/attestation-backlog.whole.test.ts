import { expect, test } from '@jest/globals';
import { ATTESTATION_BACKLOG } from '../../src/core/execution/claims.ts';
import type { Why } from '../../src/proof/contract/why.ts';
import { NOOP_MODEL, Pipeline, completion, until, type Client } from '../support/pipeline.ts';

const QUEUE = 'default.noop';
/** Attestors that confirm nothing are taken to confirm one answer a second: so many wait for five minutes. */
const UNCONFIRMED = 300;
/** In time where only the median counts, and not where a tenth of the time is kept in reserve. */
const TIGHT = { deadline_ms: 320_000 };
/** In time for nobody. */
const HOPELESS = { deadline_ms: 250_000 };

/** More than is released while no attestor says what has ended: the slots twice. */
const MORE_THAN_RELEASED = 2 * NOOP_MODEL.parallel + 16;

const asked = (client: Client, more: object) => client.post('/v1/jobs', completion('in a hurry', more));

/** Submits until it is refused; why, and in how many ms another try is promised to be better. */
const refused = (client: Client, more: object) =>
  until(async () => {
    const answer = await asked(client, more);
    if (answer.ok) return undefined;
    const problem = (await answer.json()) as { code: string; detail: string };
    const { status, headers } = answer;
    return { status, ...problem, reason: headers.get('countersign-reason'), after: headers.get('retry-after-ms') };
  });

test('while attestors stand still first those beyond their share are refused for it, then all; then nobody', async () => {
  await using pipeline = await Pipeline.prepare();
  const { keys } = pipeline.redis;
  const [, worker, attestor] = await Promise.all([pipeline.api(), pipeline.worker(1), pipeline.attestor()]);
  const early = await pipeline.client('greedy');
  await Promise.all(Array.from({ length: 16 }, (_, n) => early.run(completion(`before ${n}`))));
  const admin = pipeline.redis.client();
  // How many slots there are, and what was learned from these jobs, is kept a moment later.
  await until(async () => (await admin.hget(keys.pace(QUEUE), 'slots')) === String(NOOP_MODEL.parallel));
  await until(async () => Number((await admin.get(keys.learned(QUEUE)))?.split(' ')[0] ?? 0) > 0);
  await pipeline.freeze(worker, attestor);
  // An API that has never seen the attestors at work.
  await pipeline.kill('api');
  await pipeline.api();
  const [greedy, quiet] = [await pipeline.client('greedy'), await pipeline.client('quiet')];

  const waiting = await Promise.all(
    Array.from({ length: MORE_THAN_RELEASED }, (_, n) => greedy.submit(completion(`waits ${n}`))),
  );
  const { redis: hand } = pipeline.hand(2);
  const [{ id } = { id: '' }] = waiting;
  const handIn = async (entries: number) => {
    const adding = hand.pipeline();
    for (let at = 0; at < entries; at += 1) adding.xadd(keys.attest('default'), '*', 'jobs', `c:${id}:1`);
    for (const [error] of (await adding.exec()) ?? []) expect(error).toBeNull();
  };
  const there = await admin.xlen(keys.attest('default'));
  await handIn(UNCONFIRMED - there);
  const backlog = { status: 503, code: 'attestation_backlog', reason: 'attestation_backlog' };
  const first = await refused(greedy, TIGHT);
  expect(first).toMatchObject(backlog);
  expect(first.detail).toContain('for its confirmation');
  expect((await quiet.submit(completion('within its share', TIGHT))).state).toBe('queued');
  const second = await refused(quiet, HOPELESS);
  expect(second).toMatchObject(backlog);
  // It comes back when they can have caught up as far as it needs, and not at once.
  expect(Number(second.after)).toBeGreaterThan(30_000);

  // Workers begin nothing then, and a job that was given to them says why.
  await handIn(ATTESTATION_BACKLOG + 1 - UNCONFIRMED);
  worker.process.kill('SIGCONT');
  const why = await until(async () => {
    const found = await greedy.json<Why>(`/v1/jobs/${id}/why`);
    return found.held_by === 'attestation_backlog' && found;
  });
  expect(why.numbers).toMatchObject({ most: ATTESTATION_BACKLOG });

  attestor.process.kill('SIGCONT');
  for (const { id: one } of waiting) expect((await greedy.ended(one)).state).toBe('done');
  for (const client of [greedy, quiet]) await until(async () => (await asked(client, HOPELESS)).ok);
});
