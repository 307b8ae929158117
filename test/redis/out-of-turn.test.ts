import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Schedules } from '../../src/core/backlog/schedules.ts';
import { readCases } from '../../src/core/confirmation/case-file.ts';
import { fewOfEach } from '../../src/core/confirmation/news.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
import { JobReader, MAX_EPOCHS } from '../../src/core/jobs/job.reader.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { signPayload } from '../../src/proof/receipts/dsse.ts';
import { readTicket } from '../../src/proof/receipts/statements.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { admissionTo } from '../support/admission.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { completion } from '../support/pipeline.ts';
import { backlogOf } from '../support/queues.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { startSequencer } from '../support/sequencer.ts';
import { SUBMITTER } from '../support/submitter.ts';

test("whichever epochs a worker claims and commits out of turn, before and while an honest one runs, the current epoch is the honest one's", async () => {
  await using server = await TestRedis.start();
  const [attestor, hostile, { keys }] = [server.client('attestor'), server.client('worker.default'), server];
  const honest = new HandWorker(server.client('worker.default'), keys, newKey());
  const [admission, schedules] = [admissionTo(server), new Schedules(attestor, keys)];
  const reader = new JobReader(server.client('api'), keys, keys.open);
  const rulings = new Rulings(attestor, keys, backlogOf(attestor, keys));
  const sequencer = startSequencer(server, attestor, newKey());
  const verdict = signPayload(newKey(), Buffer.from('{}'));

  const current = async (id: string) => (await readCases(attestor, keys, [{ id }]))[0]?.currentEpoch;
  /** As the attestor hears of an epoch: it is read, placed, confirmed and ended, all in vain. */
  async function isNobodys(id: string, epoch: number): Promise<void> {
    await schedules.place([{ id, epoch }]);
    const [file] = await readCases(attestor, keys, [{ id, epoch, field: `${epoch}:x` }]);
    if (file === undefined) throw new Error('The job is gone.');
    expect(file.currentEpoch).not.toBe(epoch);
    const confirmation = { file, ticket: readTicket(id, file.ticket).signed, evidence: verdict, verdict };
    const size = { task: 'completion', maxTokens: 1, inputBytes: 1 } as const;
    expect(await sequencer.place([{ ...confirmation, output: undefined, size, tookMs: 1 }])).toEqual([undefined]);
    const phases = ['running', 'attesting'] as const;
    const action = { kind: 'end', state: 'failed' } as const;
    expect(await rulings.apply([{ id, epoch, phases, action, code: 'x', detail: 'x' }])).toEqual([{ kind: 'fenced' }]);
  }

  const epochs = fc.uniqueArray(fc.integer({ min: 2, max: MAX_EPOCHS + 3 }), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(epochs, epochs, async (before, meanwhile) => {
      const { id } = await admission.submit(SUBMITTER, parse(SubmitJob, completion('x', { attempts: 2 })));
      const seize = async (epoch: number) => {
        await hostile.hsetnx(keys.claims(id), `e${epoch}`, `w-hostile token ${Date.now()}`);
        await hostile.hsetnx(keys.claims(id), `c${epoch}`, `${epoch}:x ${Date.now()}`);
        await isNobodys(id, epoch);
      };
      for (const epoch of before) await seize(epoch);
      expect([await current(id), (await reader.read(id))?.state]).toEqual([0, 'queued']);
      const claim = await honest.claim(id);
      expect(claim.epoch).toBe(1);
      for (const epoch of meanwhile) await seize(epoch);
      expect([await current(id), (await reader.read(id))?.attempts.length]).toEqual([1, 1]);
      expect(await honest.commit(claim)).toBe('ok');

      // What was claimed early is closed with it, at no cost to the job, and the next claim comes behind.
      const refuted = { id, epoch: 1, phases: ['attesting'], action: { kind: 'close', why: 'refuted' } } as const;
      const [reply] = await rulings.apply([{ ...refuted, code: 'x', detail: 'x' }]);
      const seized = new Set([...before, ...meanwhile]);
      let free = 2;
      while (seized.has(free)) free += 1;
      expect(reply?.kind).toBe('requeued');
      const view = await reader.read(id);
      const closings = ['refuted', ...Array.from({ length: free - 2 }, () => 'void')];
      expect(view?.attempts.map(({ closed }) => closed?.why)).toEqual(closings);
      const next = new HandWorker(honest.redis, keys, newKey());
      const again = await next.claim(id);
      expect([again.epoch, await next.commit(again), await current(id)]).toEqual([free, 'ok', free]);
    }),
    {
      numRuns: 60,
      examples: [
        [
          [2, 3, 12, 15],
          [4, 5],
        ],
        [[], [2]],
      ],
    },
  );
  await sequencer.stop();
});

test('of a job of which a mailbox tells again and again, a few words are heard, and of others all', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ id: fc.constantFrom('a', 'b', 'c'), n: fc.nat() }), { maxLength: 60 }), (told) => {
      const heard = fewOfEach(told);
      for (const id of ['a', 'b', 'c']) {
        const all = told.filter((one) => one.id === id);
        expect(heard.filter((one) => one.id === id)).toEqual(all.slice(0, 4));
      }
    }),
  );
});
