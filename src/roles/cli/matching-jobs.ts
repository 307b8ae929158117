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
}

type Pages = Pick<ApiClient, 'json'>;
const PAGE_JOBS = 100;

/** The jobs that match, newest first in each state, as the service lists them page by page. */
export async function* matchingJobs(api: Pages, filter: JobFilter): AsyncGenerator<JobDocument> {
  const { states, model, createdAfter, createdBefore } = filter;
  for (const state of states) {
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams({ state, limit: String(PAGE_JOBS) });
      if (model !== undefined) query.set('model', model);
      if (createdAfter !== undefined) query.set('created_after', createdAfter);
      if (createdBefore !== undefined) query.set('created_before', createdBefore);
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
 * Asks for the cancellation of each, in chunks, and says after each chunk how many were asked. What the
 * service refuses for one job (it ended meanwhile, or is confirmed) is counted by its code and stops none of
 * the others. Throws what concerns them all: a CodedError for a key that may not, or a service that is away.
 */
export async function cancelAll(api: Pages, ids: readonly string[], done: (count: number) => void): Promise<Tally> {
  const tally: Record<string, number> = {};
  for (let at = 0; at < ids.length; at += IN_FLIGHT) {
    const chunk = ids.slice(at, at + IN_FLIGHT);
    for (const outcome of await Promise.all(chunk.map((id) => cancelOne(api, id))))
      tally[outcome] = (tally[outcome] ?? 0) + 1;
    done(at + chunk.length);
  }
  return tally;
}

/** Refusals that are about one job. */
const OF_ONE_JOB = new Set(['job_not_found', 'job_forgotten', 'confirmed_not_published', 'erased']);

async function cancelOne(api: Pages, id: string): Promise<string> {
  try {
    const answer = (await api.json(`/v1/jobs/${encodeURIComponent(id)}/cancel`, 'POST')) as {
      readonly outcome: string;
    };
    return answer.outcome;
  } catch (error) {
    if (error instanceof CodedError && OF_ONE_JOB.has(error.code)) return error.code;
    throw error;
  }
}
