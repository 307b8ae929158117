import { isFinal } from '../../proof/contract/job-states.ts';
import type { Why } from '../../proof/contract/why.ts';
import { ATTESTATION_BACKLOG } from '../execution/claims.ts';
import type { JobView } from '../jobs/job.reader.ts';
import type { HoldingLimit, Prospect } from './prospects.ts';

/** How many attestors are there, how many of them can confirm, and why another cannot. */
export interface AttestorFigures {
  readonly present: number;
  readonly able: number;
  readonly problem: string | undefined;
}

/** No worker has its model in memory: what a load takes (ms), and how many workers could load it. */
export interface Coldness {
  readonly coldMs: number;
  readonly workers: number;
}

/** Who is there beside the workers that serve its model. */
interface Present {
  readonly attestors: AttestorFigures;
  /** Workers that have its model, and do not serve it because what computes it is away or fails. */
  readonly enginesAway: number;
  /** Absent where a worker has its model in memory, or none serves it. */
  readonly cold?: Coldness | undefined;
}

type Held = Omit<Why, 'job' | 'state'>;

/**
 * The one thing that holds a job now: what would have to change first, so that it goes on. `prospect` is
 * undefined where nothing is known of its queue.
 */
export function whyOf(view: JobView, prospect: Prospect | undefined, present: Present): Why {
  return { job: view.id, state: view.state, ...held(view, prospect, present) };
}

function held(view: JobView, prospect: Prospect | undefined, present: Present): Held {
  if (isFinal(view.state)) {
    const { code = view.state, detail = '' } = view.ending ?? {};
    return plain('ended', `It has ended as ${view.state}: ${detail === '' ? `${code}.` : `${code}. ${detail}`}`);
  }
  if (view.state === 'queued') return queued(view, prospect, present);
  if (view.state === 'attesting') return attesting(prospect, present.attestors);
  const began = view.attempts.at(-1)?.beganMs;
  const ranMs = began === undefined || prospect === undefined ? 0 : Math.max(0, prospect.spot.nowMs - began);
  const numbers = { attempt: view.attempts.length, running_ms: ranMs };
  return view.cancelAskedMs === undefined
    ? { held_by: 'engine', detail: `An engine has worked on it for ${seconds(ranMs)}.`, numbers, remedy: null }
    : {
        held_by: 'stopping',
        detail: 'It is to be cancelled, and its worker has not stopped yet.',
        numbers,
        remedy: null,
      };
}

function queued(view: JobView, prospect: Prospect | undefined, { enginesAway, cold }: Present): Held {
  const { model, notBeforeMs } = view;
  if (prospect?.spot.set === 'later' && notBeforeMs !== undefined) return early(notBeforeMs, prospect.spot.nowMs);
  if (prospect?.spot.pausedMs !== undefined) return paused(prospect.spot.nowMs - prospect.spot.pausedMs);
  if (prospect === undefined || prospect.slots === 0)
    return enginesAway > 0
      ? away(model, enginesAway)
      : {
          held_by: 'no_worker',
          detail: `No worker that serves ${model} is there.`,
          numbers: { slots: 0 },
          remedy: `start a worker of its pool that serves ${model}`,
        };
  if (prospect.spot.retries !== undefined) return pausedRetry(prospect.spot.retries, view.attempts.length);
  if (prospect.spot.limit !== undefined) return limited(prospect.spot.limit, model);
  if (prospect.spot.set === 'released' && prospect.spot.handedIn > ATTESTATION_BACKLOG)
    return unconfirmed(prospect.spot.handedIn);
  if (cold !== undefined) return coldModel(model, cold);
  const { slots, position = 0, spot } = prospect;
  const numbers = { slots, running: spot.running, to_end_first: position, before: spot.before };
  if (position === 0)
    return { held_by: 'starting', detail: 'A place is free, and a worker takes it now.', numbers, remedy: null };
  const waits = `${position === 1 ? '1 job is' : `${position} jobs are`} to end before it begins, on ${slots === 1 ? '1 place' : `${slots} places`}`;
  return spot.set === 'backlog' && spot.distance > 0
    ? {
        held_by: 'share',
        detail: `Its tenant has taken its share of the workers, and others go first: ${waits}.`,
        numbers,
        remedy: 'wait for your jobs that were accepted before it, have your weight raised, or add workers',
      }
    : { held_by: 'slots', detail: `All places of the workers are taken: ${waits}.`, numbers, remedy: 'add workers' };
}

function away(model: string, workers: number): Held {
  return {
    held_by: 'engine_away',
    detail: `No worker serves ${model} now: the engine of ${workers === 1 ? '1 worker' : `${workers} workers`} is away or fails.`,
    numbers: { slots: 0, workers },
    remedy: 'nothing, if it comes back; the operator sees the cause in GET /v1/workers',
  };
}

function coldModel(model: string, { coldMs, workers }: Coldness): Held {
  return {
    held_by: 'cold_model',
    detail: `No worker has ${model} in memory; a load takes ${seconds(coldMs)}, and ${workers === 1 ? '1 worker loads it when its turn comes' : `one of ${workers} workers loads it when its turn comes`}.`,
    numbers: { cold_ms: coldMs, workers },
    remedy: 'wait; a worker that holds this model all the time would begin at once',
  };
}

function early(notBeforeMs: number, nowMs: number): Held {
  const leftMs = Math.max(0, notBeforeMs - nowMs);
  return {
    held_by: 'not_before',
    detail: `It is not to begin before ${new Date(notBeforeMs).toISOString()}, in ${seconds(leftMs)}, and takes its turn then.`,
    numbers: { left_ms: leftMs },
    remedy: 'wait for that time, or cancel the job and submit it with another not_before',
  };
}

function paused(forMs: number): Held {
  return {
    held_by: 'paused_pool',
    detail: `The operator has paused its pool, ${seconds(Math.max(0, forMs))} ago: nothing of it is begun.`,
    numbers: { paused_ms: Math.max(0, forMs) },
    remedy: 'wait for the operator to resume the pool, or cancel the job',
  };
}

function limited({ isOfKey, isOfModel, most, atWork }: HoldingLimit, model: string): Held {
  const jobs = `${most === 1 ? '1 job' : `${most} jobs`}${isOfModel ? ` of ${model}` : ''}`;
  const name = isOfModel ? 'running_jobs_per_model' : 'running_jobs';
  return {
    held_by: 'limit',
    detail: `Its ${isOfKey ? 'API key' : 'tenant'} may have ${jobs} with workers at once, and has ${atWork}.`,
    numbers: { limit: most, at_work: atWork },
    remedy: `wait until one of these has ended, or have the limit ${name} raised`,
  };
}

function unconfirmed(entries: number): Held {
  return {
    held_by: 'attestation_backlog',
    detail: `Workers begin nothing while more than ${ATTESTATION_BACKLOG} entries wait for an attestor, and ${entries} do.`,
    numbers: { entries, most: ATTESTATION_BACKLOG },
    remedy: 'wait for the attestors, or add some',
  };
}

function pausedRetry(waiting: number, attempts: number): Held {
  return {
    held_by: 'retry_pause',
    detail: `It was tried ${attempts === 1 ? 'once' : `${attempts} times`} and is to be tried again, when its queue has a retry left: they are a tenth of its jobs, and ${waiting === 1 ? '1 waits' : `${waiting} wait`}.`,
    numbers: { attempts, waiting },
    remedy: 'wait; many jobs of its queue fail, and the operator sees why in the logs of the workers',
  };
}

function attesting(prospect: Prospect | undefined, { present, able, problem }: AttestorFigures): Held {
  const numbers = { attestors: present, able };
  if (present === 0)
    return {
      held_by: 'no_attestor',
      detail: 'Its answer is to be confirmed, and no attestor is there.',
      numbers,
      remedy: 'start an attestor',
    };
  if (able === 0)
    return {
      held_by: 'no_attestor',
      detail: `Its answer is to be confirmed, and no attestor can do so now (${problem ?? 'unknown'}).`,
      numbers,
      remedy: 'mend what the attestors name as their problem',
    };
  const aside = prospect?.spot.aside;
  if (aside !== undefined)
    return {
      held_by: 'not_judged',
      detail: `Its answer could not be judged, ${aside.tries === 1 ? 'once' : `${aside.tries} times`} so far.`,
      numbers: { ...numbers, tries: aside.tries, since_ms: aside.sinceMs },
      remedy: 'the operator sees the cause with: countersign jobs stuck',
    };
  if (prospect?.spot.isLogged === true)
    return {
      held_by: 'publishing',
      detail: 'Its confirmation stands in the log, and the checkpoint that covers it is to be published.',
      numbers,
      remedy: 'nothing, unless witnesses are away',
    };
  const { handedIn = 0, confirming = 0 } = prospect?.spot ?? {};
  return {
    held_by: 'attestation',
    detail: 'Its answer is being confirmed.',
    numbers: { ...numbers, handed_in: handedIn, confirming },
    remedy: null,
  };
}

function plain(held_by: Held['held_by'], detail: string): Held {
  return { held_by, detail, numbers: {}, remedy: null };
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
