import { CodedError } from '../../ground/errors/coded-error.ts';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import type { JobState } from '../../proof/contract/job-states.ts';
import type { ApiClient } from './api-client.ts';

/** Which jobs of its tenant a command is about. */
export interface JobFilter {
  /** Jobs in one of these states. */
  readonly states: readonly JobState[];
  readonly model?: string | undefined;
  /** Times in ISO 8601; a job at one of them does not match. */
  readonly createdAfter?: string | undefined;
  readonly createdBefore?: string | undefined;
  readonly worker?: string | undefined;
  /** The id of the API key that made them. */
  readonly key?: string | undefined;
  /** Words of the reason. */
  readonly reason?: string | undefined;
}

type Pages = Pick<ApiClient, 'json'>;
const PAGE_JOBS = 100;

/** The jobs that match, newest first in each state, as the service lists them page by page. */
export async function* matchingJobs(api: Pages, filter: JobFilter): AsyncGenerator<JobDocument> {
  const { states, model, createdAfter, createdBefore, ...more } = filter;
  for (const state of states) {
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams({ state, limit: String(PAGE_JOBS) });
      if (model !== undefined) query.set('model', model);
      if (createdAfter !== undefined) query.set('created_after', createdAfter);
      if (createdBefore !== undefined) query.set('created_before', createdBefore);
      for (const [name, value] of Object.entries(more)) if (value !== undefined) query.set(name, value);
      if (cursor !== null) query.set('cursor', cursor);
      const page = (await api.json(`/v1/jobs?${query.toString()}`)) as {
        readonly jobs: readonly JobDocument[];
        readonly next_cursor: string | null;
      };
      yield* page.jobs;
      cursor = page.next_cursor;
    } while (cursor !== null);
  }
}

/** Ids of the jobs that match, each once, though one may pass to another state while they are read. */
export async function matchingIds(api: Pages, filter: JobFilter, found: (count: number) => void): Promise<string[]> {
  const ids = new Set<string>();
  for await (const { id } of matchingJobs(api, filter)) {
    ids.add(id);
    found(ids.size);
  }
  return [...ids];
}

/** How often each outcome came. */
export type Tally = Readonly<Record<string, number>>;

/** At once; each is one request. */
const IN_FLIGHT = 8;

/**
 * Asks for the same of each job, its cancellation or its question once more, in chunks, and says after each
 * chunk how many were asked. What the service refuses for one job (it ended meanwhile, it is confirmed, its
 * question is not kept) is counted by its code and stops none of the others. Throws what concerns them all:
 * a CodedError for a key that may not, or a service that is away. Whoever goes on later asks for all again:
 * what was done stays done, once.
 */
export async function askAll(
  api: Pages,
  what: 'cancel' | 'retry',
  ids: readonly string[],
  done: (count: number) => void,
): Promise<Tally> {
  const tally: Record<string, number> = {};
  for (let at = 0; at < ids.length; at += IN_FLIGHT) {
    const chunk = ids.slice(at, at + IN_FLIGHT);
    for (const outcome of await Promise.all(chunk.map((id) => askOne(api, what, id))))
      tally[outcome] = (tally[outcome] ?? 0) + 1;
    done(at + chunk.length);
  }
  return tally;
}

/** Refusals that are about one job. */
const OF_ONE_JOB = new Set([
  'job_not_found',
  'job_forgotten',
  'confirmed_not_published',
  'erased',
  'job_not_ended',
  'job_not_retryable',
  'model_not_found',
]);

async function askOne(api: Pages, what: string, id: string): Promise<string> {
  try {
    const answer = (await api.json(`/v1/jobs/${encodeURIComponent(id)}/${what}`, 'POST')) as {
      readonly outcome: string;
    };
    return answer.outcome;
  } catch (error) {
    if (error instanceof CodedError && OF_ONE_JOB.has(error.code)) return error.code;
    throw error;
  }
}
