import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { countVotes, type Vote } from '../../src/core/attestation/methods/quorum.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { workerEntry } from '../../src/core/registry/worker-list.ts';
import type { HandWorker } from '../support/hand-worker.ts';
import { Pipeline, completion, until, type Client, type Role } from '../support/pipeline.ts';

const PAST = new Date(Date.now() - 60_000).toISOString();
const OPERATORS = ['north', 'north', 'south', 'east'];

describe('a quorum of workers of different operators', () => {
  let pipeline: Pipeline;
  let client: Client;
  let real: Role[];
  beforeAll(async () => {
    pipeline = await Pipeline.prepare();
    pipeline.enrol(pipeline.workerKeys.map(({ public: key }, at) => workerEntry(key, OPERATORS[at] ?? '', PAST)));
    await Promise.all([pipeline.api(), pipeline.attestor()]);
    client = await pipeline.client();
    // Announced, so that a quorum can be promised; they answer in the first test only.
    real = await Promise.all([1, 2, 3, 4].map((number) => pipeline.worker(number)));
  });
  afterAll(async () => {
    await pipeline[Symbol.asyncDispose]();
  });
  const ask = (prompt: string, of: number, agree: number) =>
    client.submit(completion(prompt, { attempts: 2, attestation: { recompute: 0, quorum: { of, agree } } }));
  /** One worker's vote, with an answer of its own or the honest one. */
  async function vote(worker: HandWorker, id: string, text?: string): Promise<void> {
    const claim = await until(async () => {
      const reply = await worker.tryClaim(id);
      return reply.kind === 'ok' && reply.claim;
    });
    const output = text === undefined ? worker.honestOutput(claim) : JSON.stringify({ text, finish_reason: 'stop' });
    await worker.claims.commitEvidence(claim, worker.sign(worker.evidence(claim, output)), output);
    await until(async () => {
      const job = await client.job(id);
      return job.ended_at !== null || job.attempts[claim.epoch - 1]?.closed != null;
    });
  }

  test('real workers agree, and the receipt names who gave the same answer', async () => {
    const { id } = await until(() => ask('together', 3, 2).catch(() => undefined));
    const job = await client.ended(id);
    expect(job.state).toBe('done');
    const { verdict, evidence } = verifyReceipt(await client.receipt(id), pipeline.keyring);
    expect(verdict.properties).toContain('QUORUM_AGREED');
    expect(verdict.quorum).toMatchObject({ of: 3, agree: 2 });
    const votes = verdict.quorum?.votes ?? [];
    expect(new Set(votes.map(({ operator }) => operator)).size).toBe(votes.length);
    expect(votes.length).toBe(2);
    expect(votes.map(({ worker }) => worker)).toContain(evidence.worker.id);
    // Nothing was streamed that another could have copied.
    expect(await pipeline.redis.client().exists(pipeline.redis.keys.chunks(id))).toBe(0);
  });

  describe('by hand', () => {
    beforeAll(() => pipeline.freeze(...real));

    test('one liar: a third opinion decides, and the liar is not done', async () => {
      const { id } = await ask('one liar', 3, 2);
      await vote(pipeline.hand(1), id, 'a lie');
      await vote(pipeline.hand(3), id);
      expect((await client.job(id)).state).toBe('queued');
      await vote(pipeline.hand(4), id);
      expect((await client.job(id)).state).toBe('done');
      const { verdict } = verifyReceipt(await client.receipt(id), pipeline.keyring);
      expect(verdict.quorum?.votes.map(({ operator }) => operator)).toEqual(['south', 'east']);
    });

    test('two workers of one operator are one voice', async () => {
      const { id } = await ask('one operator', 2, 2);
      await vote(pipeline.hand(1), id);
      await vote(pipeline.hand(2), id);
      const job = await client.job(id);
      expect(job.attempts.map(({ closed }) => closed?.why)).toEqual(['voted', 'refuted']);
      expect(job.attempts[1]?.closed?.detail).toBe('QUORUM_SAME_OPERATOR');
      await vote(pipeline.hand(4), id);
      expect((await client.job(id)).state).toBe('done');
    });

    test('nobody agrees: that is inconclusive, and nobody is rejected', async () => {
      const { id } = await ask('nobody agrees', 3, 2);
      await vote(pipeline.hand(1), id, 'a');
      await vote(pipeline.hand(3), id, 'b');
      await vote(pipeline.hand(4), id, 'c');
      const job = await client.job(id);
      expect([job.state, job.reason?.code]).toEqual(['failed', 'inconclusive']);
      expect((await client.fetch(`/v1/jobs/${id}/output`)).status).toBe(409);
    });

    test('a worker votes once, and what nobody can serve is refused at the door', async () => {
      const { id } = await ask('once', 2, 2);
      const first = pipeline.hand(1);
      await vote(first, id);
      expect(await first.tryClaim(id)).toMatchObject({ kind: 'later', why: 'excluded' });
      for (const [of, agree, status] of [
        [5, 3, 503],
        // Four workers are there, of three operators: the fourth vote could never be given.
        [4, 3, 503],
        [3, 1, 400],
        [2, 3, 400],
        [9, 5, 400],
      ] as const) {
        const body = completion('no', { attestation: { recompute: 0, quorum: { of, agree } } });
        expect((await client.post('/v1/jobs', body)).status).toBe(status);
      }
    });
  });

  test.each<[string, { of: number; agree: number }, string[], string]>([
    ['two of two', { of: 2, agree: 2 }, ['x', 'x'], 'agreed'],
    ['one of two', { of: 2, agree: 2 }, ['x'], 'open'],
    ['two that differ, of two', { of: 2, agree: 2 }, ['x', 'y'], 'inconclusive'],
    ['two that differ, of three', { of: 3, agree: 2 }, ['x', 'y'], 'open'],
    ['three that differ', { of: 3, agree: 2 }, ['x', 'y', 'z'], 'inconclusive'],
    ['two against one', { of: 3, agree: 2 }, ['x', 'y', 'x'], 'agreed'],
    ['three of five, early', { of: 5, agree: 3 }, ['x', 'y', 'z'], 'open'],
    ['three of five, hopeless', { of: 5, agree: 3 }, ['x', 'y', 'z', 'w'], 'inconclusive'],
  ])('%s: %s', (_, wanted, outputs, outcome) => {
    const votes = outputs.map((outputSha256, at): Vote => {
      return { epoch: at + 1, worker: `w${at}`, operator: `o${at}`, evidenceSha256: '', outputSha256 };
    });
    const last = votes.pop();
    if (last === undefined) throw new Error('no votes');
    expect(countVotes(wanted, votes, last).kind).toBe(outcome);
  });
});
