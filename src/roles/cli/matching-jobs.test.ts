import { expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { askAll, matchingIds } from './matching-jobs.ts';

/** A service that lists these ids by state, in pages, and answers a cancellation with its `outcome`. */
function service(byState: Record<string, readonly string[]>, outcome: (id: string) => string, page = 2) {
  const asked: string[] = [];
  return {
    asked,
    json: (path: string, method = 'GET'): Promise<unknown> => {
      const url = new URL(path, 'http://x');
      if (method === 'POST') {
        const id = url.pathname.split('/')[3] ?? '';
        asked.push(id);
        const said = outcome(id);
        return said.includes('_not_') || said === 'unauthenticated'
          ? Promise.reject(new CodedError(said === 'unauthenticated' ? said : 'job_not_found', 'No.'))
          : Promise.resolve({ outcome: said });
      }
      const all = byState[url.searchParams.get('state') ?? ''] ?? [];
      const from = Number(url.searchParams.get('cursor') ?? 0);
      const more = from + page < all.length ? String(from + page) : null;
      return Promise.resolve({ jobs: all.slice(from, from + page).map((id) => ({ id })), next_cursor: more });
    },
  };
}

test('every page of every state is read, and a job that passed from one to another is counted once', async () => {
  const api = service({ queued: ['a', 'b', 'c', 'd', 'e'], running: ['e', 'f'] }, () => '');
  const seen: number[] = [];
  const ids = await matchingIds(api, { states: ['queued', 'running', 'attesting'] }, (count) => seen.push(count));
  expect(ids).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  expect(seen.at(-1)).toBe(6);
});

test('each is asked once; what is refused for one stops no other, and is counted by its code', async () => {
  const ids = Array.from({ length: 30 }, (_, at) => `job_${at}`);
  const api = service({}, (id) => (id === 'job_7' ? 'job_not_found' : id === 'job_9' ? 'already_final' : 'cancelled'));
  const seen: number[] = [];
  expect(await askAll(api, 'cancel', ids, (count) => seen.push(count))).toEqual({
    cancelled: 28,
    job_not_found: 1,
    already_final: 1,
  });
  expect(api.asked).toEqual(ids);
  expect(seen).toEqual([8, 16, 24, 30]);
});

test('a key that may not cancel ends it at once', async () => {
  const api = service({}, () => 'unauthenticated');
  await expect(askAll(api, 'cancel', ['a', 'b'], () => undefined)).rejects.toMatchObject({ code: 'unauthenticated' });
});

test('a retry that is begun again asks for all once more, and what can be asked again no longer is counted', async () => {
  const retried = new Set<string>();
  const api = {
    json: (path: string): Promise<unknown> => {
      const [, , , id = '', what] = path.split('/');
      if (what !== 'retry') return Promise.reject(new Error(path));
      if (id === 'c') return Promise.reject(new CodedError('job_not_retryable', 'No.'));
      const outcome = retried.has(id) ? 'already_retried' : 'retried';
      if (id === 'd' && retried.size < 4) return Promise.reject(new CodedError('rate_limited', 'Later.'));
      retried.add(id);
      return Promise.resolve({ outcome });
    },
  };
  await expect(askAll(api, 'retry', ['a', 'b', 'c', 'd', 'e'], () => undefined)).rejects.toMatchObject({
    code: 'rate_limited',
  });
  retried.add('x');
  expect(await askAll(api, 'retry', ['a', 'b', 'c', 'd', 'e'], () => undefined)).toEqual({
    already_retried: 3,
    job_not_retryable: 1,
    retried: 1,
  });
});

test('every filter is sent as it was given', async () => {
  const paths: string[] = [];
  const api = {
    json: (path: string) => {
      paths.push(path);
      return Promise.resolve({ jobs: [], next_cursor: null });
    },
  };
  await matchingIds(api, { states: ['failed'], worker: 'w-1', reason: 'out & of', key: 'k' }, () => undefined);
  expect(paths).toEqual(['/v1/jobs?state=failed&limit=100&worker=w-1&reason=out+%26+of&key=k']);
});
