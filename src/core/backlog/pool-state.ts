/**
 * What an operator can make of a pool.
 *
 * - `open`: jobs are taken and given to workers. It is written down nowhere.
 * - `paused`: jobs are taken and wait; nothing more is given to workers, and what was given runs on.
 * - `draining`: new jobs are refused; what waits is given to workers.
 */
export const POOL_STATES = ['open', 'paused', 'draining'] as const;
export type PoolState = (typeof POOL_STATES)[number];

/** How a pool stands, since when (ms), and who said so: an API key's id, or `cli`. */
export interface Standing {
  readonly state: Exclude<PoolState, 'open'>;
  readonly sinceMs: number;
  readonly by: string;
}

/** The standing as it is kept. Scripts compare its first word. */
export function standingText({ state, sinceMs, by }: Standing): string {
  return `${state} ${sinceMs} ${by}`;
}

/** The standing in a kept text; undefined where it is open, or the text is something else. */
export function standingIn(text: string): Standing | undefined {
  const [, state, since, by = ''] = /^(paused|draining) (\d{1,15}) (\S.*)$/.exec(text) ?? [];
  if (state !== 'paused' && state !== 'draining') return undefined;
  return { state, sinceMs: Number(since), by };
}

/** Why a job is to be cancelled, as it stands with its ticket, where the operator has emptied its pool. */
export const EMPTIED = 'emptied';
/** The same for people: what such a job says of its end. */
export const EMPTIED_DETAIL = 'The operator has emptied its pool.';
