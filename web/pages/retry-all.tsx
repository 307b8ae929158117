import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { JobState } from '../../src/proof/contract/job-states.ts';
import type { Retried } from '../../src/proof/contract/job.ts';
import type { JobList } from '../../src/roles/api/jobs.schemas.ts';
import { Refused, ask } from '../api.ts';
import { exact } from '../format.ts';
import { Act, Confirm } from '../parts.tsx';

/** The states of jobs that got no answer and whose question may be asked again. */
const UNANSWERED: readonly JobState[] = ['rejected', 'failed', 'expired'];
const PAGE = 100;
const AT_ONCE = 8;
/** Refusals that are about one job. */
const OF_ONE_JOB = new Set(['job_not_found', 'job_not_ended', 'job_not_retryable', 'erased', 'model_not_found']);

/** All jobs that match, each once. */
async function matching(filter: URLSearchParams, state: string, counted: (count: number) => void): Promise<string[]> {
  const ids = new Set<string>();
  for (const one of state === '' ? UNANSWERED : [state]) {
    let cursor: string | null = null;
    do {
      const asked = new URLSearchParams(filter);
      asked.set('state', one);
      asked.set('limit', String(PAGE));
      if (cursor !== null) asked.set('cursor', cursor);
      const page: JobList = await ask<JobList>(`/v1/jobs?${asked.toString()}`);
      for (const { id } of page.jobs) ids.add(id);
      counted(ids.size);
      cursor = page.next_cursor;
    } while (cursor !== null);
  }
  return [...ids];
}

async function retryOne(id: string): Promise<string> {
  try {
    return (await ask<Retried>(`/v1/jobs/${id}/retry`, { method: 'POST' })).outcome;
  } catch (error) {
    if (error instanceof Refused && OF_ONE_JOB.has(error.code)) return error.code;
    throw error;
  }
}

const OUTCOMES: Readonly<Record<string, string>> = {
  retried: 'asked again',
  already_retried: 'asked again before',
  job_not_retryable: 'not asked: what it asked is not kept',
};

/**
 * Asks again what jobs asked that match and got no answer: counted first, then in chunks. Each is asked again
 * once, so that whoever begins anew after an interruption goes on.
 */
export function RetryAll({ filter, state }: { readonly filter: URLSearchParams; readonly state: string }): JSX.Element {
  const [ids, setIds] = useState<readonly string[]>();
  const [seen, setSeen] = useState(0);
  const [done, setDone] = useState<Readonly<Record<string, number>>>({});
  const count = async () => {
    setIds(undefined);
    setDone({});
    setIds(await matching(filter, state, setSeen));
  };
  const retry = async () => {
    const tally: Record<string, number> = {};
    for (let at = 0; at < (ids?.length ?? 0); at += AT_ONCE) {
      for (const outcome of await Promise.all((ids ?? []).slice(at, at + AT_ONCE).map(retryOne)))
        tally[outcome] = (tally[outcome] ?? 0) + 1;
      setDone({ ...tally });
    }
  };
  const lines = Object.entries(done).map(([outcome, times]) => `${exact(times)} ${OUTCOMES[outcome] ?? outcome}`);
  return (
    <div class="actions" aria-live="polite">
      <Act label="Count what can be asked again" icon="again" act={count} />
      {ids === undefined ? (
        <span class="small soft">{seen === 0 ? '' : `${exact(seen)} so far`}</span>
      ) : ids.length === 0 ? (
        <span class="small soft">No job that matches was refuted, failed or expired.</span>
      ) : (
        <Confirm
          label={`Ask ${exact(ids.length)} again`}
          title={`Ask ${exact(ids.length)} ${ids.length === 1 ? 'job' : 'jobs'} again?`}
          yes="Ask them again"
          act={retry}
        >
          <p>
            Each becomes a new job with the same question, parameters and time, which names the old one. It costs what a
            new job costs.
          </p>
        </Confirm>
      )}
      {lines.length === 0 ? null : <span class="small">{lines.join(', ')}</span>}
    </div>
  );
}
