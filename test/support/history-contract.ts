import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { EndedJob } from '../../src/surfaces/memory/history-calls.ts';
import type { Ask } from '../../src/surfaces/memory/memory-calls.ts';
import type { MemoryDesk } from '../../src/surfaces/memory/memory-desk.ts';
import { wordsOf } from '../../src/surfaces/memory/reason-words.ts';
import { IS_LONG } from './thorough.ts';

const NEWEST = { created_ms: Number.MAX_SAFE_INTEGER, id: '' };

/** A job that has ended now, with what matters changed. */
export function anEndedJob(change: Partial<EndedJob> & { id: string }): EndedJob {
  const now = Date.now();
  return {
    ...{ tenant: 'acme', key_id: 'key-1', model: 'noop', pool: 'gpu', task: 'completion', policy: '{}' },
    ...{ state: 'failed', worker: 'worker-1', epoch: 1, code: 'engine_error', detail: 'out of memory' },
    ...{ created_ms: now - 10, deadline_ms: now + 1_000, claimed_ms: now - 9, began_ms: now - 8, committed_ms: null },
    ...{ ended_ms: now, input_tokens: null, output_tokens: null, charge: null, currency: null, erased_ms: null },
    ...change,
  };
}

/** Enters jobs as the courier does, whatever the history's place is. */
export async function noted(desk: MemoryDesk, jobs: EndedJob[]): Promise<void> {
  const from = await desk.answers.historyState({});
  const to = { entered: from.entered + 1, archived: from.archived + 1 };
  expect(await desk.answers.noteEnds({ jobs, from, to })).toEqual(to);
}

/** All pages of a search, and how many they were. */
export async function allPages(
  desk: MemoryDesk,
  change: Partial<Ask<'findEnded'>>,
): Promise<{ ids: string[]; pages: number }> {
  const ids: string[] = [];
  let before: Ask<'findEnded'>['before'] | null = NEWEST;
  let pages = 0;
  while (before !== null) {
    const page: Awaited<ReturnType<MemoryDesk['answers']['findEnded']>> = await desk.answers.findEnded({
      ...{ tenant: 'acme', keys: null, words: [], limit: 10, before },
      ...change,
      before,
    });
    ids.push(...page.jobs.map(({ id }) => id));
    before = page.next;
    pages += 1;
  }
  return { ids, pages };
}

/** What the history of ended jobs promises on whichever database. */
export function historyContract(desk: () => MemoryDesk): void {
  describe('the history of ended jobs', () => {
    test('a page of ends is in it once, and one that does not follow on is refused with the place to go on from', async () => {
      const from = await desk().answers.historyState({});
      const to = { entered: from.entered + 7.25, archived: from.archived + 3 };
      const jobs = [anEndedJob({ id: 'job_once', tenant: 'once' })];
      expect(await desk().answers.noteEnds({ jobs, from, to })).toEqual(to);
      const late = [anEndedJob({ id: 'job_late', tenant: 'once' })];
      expect(await desk().answers.noteEnds({ jobs: late, from, to })).toEqual(to);
      expect(await desk().answers.noteEnds({ jobs, from: to, to })).toEqual(to);
      expect(await allPages(desk(), { tenant: 'once' })).toEqual({ ids: ['job_once'], pages: 1 });
      expect(await desk().answers.getEnded({ tenant: 'once', id: 'job_once' })).toEqual(jobs[0]);
      expect(await desk().answers.getEnded({ tenant: 'other', id: 'job_once' })).toBeNull();
    });

    test('any filters find what they should, newest first, in pages of any length, and nothing of another tenant', async () => {
      const of = (at: number): Partial<EndedJob> => ({
        model: ['noop', 'llama'][at % 2] ?? '',
        state: (['failed', 'done', 'cancelled'] as const)[at % 3] ?? 'failed',
        worker: ['', 'worker-1', "worker-'2"][at % 3] ?? '',
        key_id: `key-${at % 4}`,
        detail: ['out of memory', 'Fehler: die GPU — größer', '<script>x</script>', ''][at % 4] ?? '',
        // Several of one millisecond.
        created_ms: 1_000_000 + Math.floor(at / 5),
      });
      const jobs = Array.from({ length: 60 }, (_, at) =>
        anEndedJob({ id: `job_${String((at * 7_919) % 1_000).padStart(4, '0')}`, tenant: 'filters', ...of(at) }),
      );
      await noted(desk(), jobs);
      await noted(desk(), [anEndedJob({ id: 'job_other', tenant: 'others', created_ms: 1_000_001 })]);
      const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });
      await fc.assert(
        fc.asyncProperty(
          maybe(fc.constantFrom('failed', 'done', 'cancelled', 'expired')),
          maybe(fc.constantFrom('noop', 'llama')),
          maybe(fc.constantFrom('worker-1', "worker-'2", 'nobody')),
          fc.option(fc.subarray(['key-0', 'key-1', 'key-9'])),
          fc.constantFrom('', 'memory', 'GRÖSSER gpu', 'script', 'memory gpu', 'engine_error'),
          maybe(fc.integer({ min: 999_999, max: 1_000_013 })),
          fc.integer({ min: 4, max: 50 }),
          async (state, model, worker, keys, reason, after, limit) => {
            const words = wordsOf(reason);
            const { ids } = await allPages(desk(), {
              ...{ tenant: 'filters', keys, words, limit },
              ...(state === undefined ? {} : { state }),
              ...(model === undefined ? {} : { model }),
              ...(worker === undefined ? {} : { worker }),
              ...(after === undefined ? {} : { after_ms: after }),
            });
            const wanted = jobs
              .filter(
                (job) =>
                  (state ?? job.state) === job.state &&
                  (model ?? job.model) === job.model &&
                  (worker ?? job.worker) === job.worker &&
                  (keys === null || keys.includes(job.key_id)) &&
                  job.created_ms > (after ?? 0) &&
                  words.every((word) => job.state !== 'done' && wordsOf(`${job.code} ${job.detail}`).includes(word)),
              )
              .toSorted((a, b) => b.created_ms - a.created_ms || (a.id < b.id ? 1 : -1));
            expect(ids).toEqual(wanted.map(({ id }) => id));
          },
        ),
        { numRuns: IS_LONG ? 100 : 20 },
      );
    });

    test('what was erased shows no reason and is found by no word, also where it is entered after its erasure', async () => {
      const created_ms = Date.now();
      const [before, after] = ['job_before', 'job_after'].map((id) =>
        anEndedJob({ id, tenant: 'erased', detail: 'zyzzyva', created_ms }),
      );
      if (before === undefined || after === undefined) throw new Error('there are two');
      await noted(desk(), [before]);
      expect((await allPages(desk(), { tenant: 'erased', words: ['zyzzyva'] })).ids).toEqual(['job_before']);
      await desk().answers.eraseEnded({ ids: ['job_before', 'job_after'] });
      await noted(desk(), [before, after]);
      expect((await allPages(desk(), { tenant: 'erased', words: ['zyzzyva'] })).ids).toEqual([]);
      expect((await allPages(desk(), { tenant: 'erased' })).ids).toEqual(['job_before', 'job_after']);
      for (const id of ['job_before', 'job_after'])
        expect(await desk().answers.getEnded({ tenant: 'erased', id })).toMatchObject({
          state: 'failed',
          detail: '',
          erased_ms: expect.any(Number),
        });
      // What is left is found by the code alone, which nobody but us has written.
      expect((await allPages(desk(), { tenant: 'erased', words: ['engine_error'] })).ids).toEqual([
        'job_before',
        'job_after',
      ]);
    });

    test('a deleted tenant has nothing in it, and nothing of it is taken in again', async () => {
      const jobs = ['job_t1', 'job_t2'].map((id) => anEndedJob({ id, tenant: 'deleted' }));
      await noted(desk(), jobs);
      expect(await desk().answers.forgetTenant({ tenant: 'deleted' })).toBe(2);
      expect(await desk().answers.forgetTenant({ tenant: 'deleted' })).toBe(0);
      await noted(desk(), jobs);
      expect((await allPages(desk(), { tenant: 'deleted' })).ids).toEqual([]);
    });

    test('what ended too long ago goes, and is not taken in again', async () => {
      const old = anEndedJob({ id: 'job_old', tenant: 'old', ended_ms: Date.now() - 89 * 86_400_000 });
      const young = anEndedJob({ id: 'job_young', tenant: 'old' });
      await noted(desk(), [old, young]);
      await desk().tidy(Date.now() + 2 * 86_400_000);
      expect((await allPages(desk(), { tenant: 'old' })).ids).toEqual(['job_young']);
      await noted(desk(), [{ ...old, ended_ms: Date.now() - 91 * 86_400_000 }]);
      expect((await allPages(desk(), { tenant: 'old' })).ids).toEqual(['job_young']);
    });
  });
}
