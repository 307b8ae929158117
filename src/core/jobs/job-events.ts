import type { Attempt, Ending } from './job-state.ts';
import { verdictOf, type Ended } from './job.reader.ts';
import { howConfirmed } from '../../proof/receipts/how-confirmed.ts';
import type { JobState } from '../../proof/contract/job-states.ts';

/**
 * The events of a job are computed from its documents and never stored: the same documents always give the
 * same events with the same ids. An id has three numbers, epoch, phase and place, which only grow:
 *
 *   0.0.0 queued   e.1.0 running   e.2.n provisional output   e.3.0 attesting
 *   e.4.0 queued again   e.9.0 final
 *
 * A client that reconnects with the last id that it saw gets exactly the events after it.
 */
export type EventId = readonly [epoch: number, phase: number, place: number];

export interface JobEvent {
  readonly id: EventId;
  readonly type: 'state' | 'chunk';
  readonly data: Record<string, unknown>;
}

/** Codes of ends by which the last attempt was not queued again. */
const ENDS_WITH_ATTEMPT: ReadonlySet<string> = new Set(['refuted', 'attempts_exhausted', 'workers_lost']);

/** A piece of provisional output, as a worker wrote it. Nothing in it is trusted. */
export interface Chunk {
  readonly epoch: number;
  readonly worker: string;
  readonly place: number;
  readonly text: string;
}

const iso = (ms: number) => new Date(ms).toISOString();

/** The changes of state that the documents of a job tell, in order. */
export function stateEvents(
  job: Ended & { id: string; createdMs: number; attempts: readonly Attempt[]; ending: Ending | undefined },
): JobEvent[] {
  const { id, attempts, ending } = job;
  const state = (eventId: EventId, name: JobState, atMs: number, more: Record<string, unknown> = {}): JobEvent => ({
    id: eventId,
    type: 'state',
    data: { job: id, state: name, at: iso(atMs), ...more },
  });
  const events = [state([0, 0, 0], 'queued', job.createdMs)];
  for (const { epoch, worker, beganMs, committedMs, closed } of attempts) {
    if (beganMs !== undefined) events.push(state([epoch, 1, 0], 'running', beganMs, { epoch, worker }));
    if (committedMs !== undefined) events.push(state([epoch, 3, 0], 'attesting', committedMs, { epoch }));
    const endedJob = ending?.epoch === epoch && ENDS_WITH_ATTEMPT.has(ending.code);
    if (closed !== undefined && !endedJob)
      events.push(state([epoch, 4, 0], 'queued', closed.atMs, { epoch, why: closed.why, detail: closed.detail }));
  }
  if (ending !== undefined) {
    events.push(
      state([attempts.length, 9, 0], ending.state, ending.atMs, {
        epoch: ending.epoch,
        code: ending.code,
        detail: ending.detail,
        ...(ending.state === 'done' ? howConfirmed(verdictOf(job)) : {}),
      }),
    );
  }
  return events;
}

/**
 * The events of provisional output. A chunk counts only where its worker claimed that epoch; every worker of
 * the pool can write to the stream.
 */
export function chunkEvents(id: string, attempts: readonly Attempt[], chunks: readonly Chunk[]): JobEvent[] {
  return chunks.flatMap(({ epoch, worker, place, text }): JobEvent[] => {
    const attempt = attempts[epoch - 1];
    if (attempt?.worker !== worker || !Number.isSafeInteger(place) || place < 1 || text === '') return [];
    return [{ id: [epoch, 2, place], type: 'chunk', data: { job: id, epoch, text, provisional: true } }];
  });
}

/** Whether the first id comes after the second. */
export function isAfter(a: EventId, b: EventId): boolean {
  for (const index of [0, 1, 2] as const) if (a[index] !== b[index]) return a[index] > b[index];
  return false;
}

/** The events by their ids, oldest first. */
export function inOrder(events: readonly JobEvent[]): JobEvent[] {
  return events.toSorted((a, b) => (isAfter(a.id, b.id) ? 1 : -1));
}

/** The id in a Last-Event-ID header, or undefined where the text is not an event id of a job. */
export function parseEventId(text: string): EventId | undefined {
  const parts = /^(\d{1,4})\.(\d)\.(\d{1,9})$/.exec(text);
  return parts === null ? undefined : [Number(parts[1]), Number(parts[2]), Number(parts[3])];
}

/** The event as text/event-stream (WHATWG HTML, server-sent events). */
export function formatEvent({ id, type, data }: JobEvent): string {
  return `id: ${id.join('.')}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
}
