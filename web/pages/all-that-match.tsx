import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { JobState } from '../../src/proof/contract/job-states.ts';
import type { Cancellation, Retried } from '../../src/proof/contract/job.ts';
import type { JobList } from '../../src/roles/api/jobs.schemas.ts';
import { Refused, ask } from '../api.ts';
import { exact } from '../format.ts';
import type { IconName } from '../icons.tsx';
import { Act, Confirm } from '../parts.tsx';

/** What can be done with every job that matches a filter. */
interface Deed {
  readonly icon: IconName;
  readonly count: string;
  /** The states of the jobs with which it is done where no state is chosen. */
  readonly states: readonly JobState[];
  /** A state that must be chosen for it. */
  readonly also?: JobState;
  readonly none: string;
  readonly label: (jobs: string) => string;
  readonly yes: string;
  readonly says: string;
  /** Does it with one job, as often as it likes; returns what became of it, as a key of `outcomes`. */
  readonly act: (id: string) => Promise<string>;
  readonly outcomes: Readonly<Record<string, string>>;
}

const DEEDS = {
  retry: {
    icon: 'again',
    count: 'Count what can be asked again',
    states: ['rejected', 'failed', 'expired'],
    also: 'cancelled',
    none: 'No job that matches was refuted, failed or expired.',
    label: (jobs) => `Ask ${jobs} again`,
    yes: 'Ask them again',
    says: 'Each becomes a new job with the same question, parameters and time, which names the old one. It costs what a new job costs.',
    act: async (id) => (await ask<Retried>(`/v1/jobs/${id}/retry`, { method: 'POST' })).outcome,
    outcomes: {
      retried: 'asked again',
      already_retried: 'asked again before',
      job_not_retryable: 'not asked: what it asked is not kept',
    },
  },
  cancel: {
    icon: 'close',
    count: 'Count what can be cancelled',
    states: ['queued', 'running', 'attesting'],
    none: 'No job that matches is open.',
    label: (jobs) => `Cancel ${jobs}`,
    yes: 'Cancel them',
    says: 'Each ends as cancelled once no worker runs it. What they have cost by then is not charged. An answer that is in the log already stays.',
    act: async (id) => (await ask<Cancellation>(`/v1/jobs/${id}/cancel`, { method: 'POST' })).outcome,
    outcomes: {
      stopping: 'being stopped',
      already_final: 'had ended',
      ended_first: 'ended first',
      confirmed_not_published: 'confirmed already',
    },
  },
} as const satisfies Record<string, Deed>;

const PAGE = 100;
const AT_ONCE = 8;
/** Refusals that are about one job. */
const OF_ONE_JOB = new Set([
  'job_not_found',
  'job_not_ended',
  'job_not_retryable',
  'confirmed_not_published',
  'erased',
  'model_not_found',
]);

/** All jobs that match, each once, though one may pass to another state while they are read. */
async function matching(
  filter: URLSearchParams,
  states: readonly string[],
  counted: (count: number) => void,
): Promise<string[]> {
  const ids = new Set<string>();
  for (const state of states) {
    let cursor: string | null = null;
    do {
      const asked = new URLSearchParams(filter);
      asked.set('state', state);
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

async function outcomeOf(deed: Deed, id: string): Promise<string> {
  try {
    return await deed.act(id);
  } catch (error) {
    if (error instanceof Refused && OF_ONE_JOB.has(error.code)) return error.code;
    throw error;
  }
}

/** What can be done with jobs of a state, or with those of any where it is empty. */
export const deedsOf = (state: string): (keyof typeof DEEDS)[] =>
  (['retry', 'cancel'] as const).filter((what) => {
    const { states, also }: Deed = DEEDS[what];
    return state === '' || state === also || states.some((one) => one === state);
  });

/**
 * Does one thing with every job that matches: counted first, then in chunks, and with those that were counted
 * alone. Each can be done again, so that whoever begins anew after an interruption goes on.
 */
export function AllThatMatch(props: {
  readonly what: keyof typeof DEEDS;
  readonly filter: URLSearchParams;
  /** Of this state only; empty where none is chosen. */
  readonly state: string;
}): JSX.Element {
  const deed: Deed = DEEDS[props.what];
  const [ids, setIds] = useState<readonly string[]>();
  const [seen, setSeen] = useState(0);
  const [done, setDone] = useState<Readonly<Record<string, number>>>({});
  const count = async () => {
    setIds(undefined);
    setDone({});
    setIds(await matching(props.filter, props.state === '' ? deed.states : [props.state], setSeen));
  };
  const act = async () => {
    const tally: Record<string, number> = {};
    for (let at = 0; at < (ids?.length ?? 0); at += AT_ONCE) {
      const chunk = (ids ?? []).slice(at, at + AT_ONCE);
      for (const outcome of await Promise.all(chunk.map((id) => outcomeOf(deed, id))))
        tally[outcome] = (tally[outcome] ?? 0) + 1;
      setDone({ ...tally });
    }
  };
  const jobs = `${exact(ids?.length ?? 0)} ${ids?.length === 1 ? 'job' : 'jobs'}`;
  const lines = Object.entries(done).map(([outcome, times]) => `${exact(times)} ${deed.outcomes[outcome] ?? outcome}`);
  return (
    <div class="actions" aria-live="polite">
      <Act label={deed.count} icon={deed.icon} act={count} />
      {ids === undefined ? (
        <span class="small soft">{seen === 0 ? '' : `${exact(seen)} so far`}</span>
      ) : ids.length === 0 ? (
        <span class="small soft">{deed.none}</span>
      ) : (
        <Confirm label={deed.label(exact(ids.length))} title={`${deed.label(jobs)}?`} yes={deed.yes} act={act}>
          <p>{deed.says}</p>
        </Confirm>
      )}
      {lines.length === 0 ? null : <span class="small">{lines.join(', ')}</span>}
    </div>
  );
}
