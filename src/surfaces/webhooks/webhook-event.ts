import { FINAL_STATES } from '../../proof/contract/job-states.ts';
import { EVENT_TYPES, type EventType } from '../../proof/contract/event-types.ts';
import { stateEvents } from '../../core/jobs/job-events.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';

/** The events that a job's own address gets unless the job names others. */
export const FINAL_EVENT_TYPES = FINAL_STATES.map((state) => `job.${state}` as const);

/** An event of a job or a batch. */
export interface WebhookEvent {
  /** Grows with each event of one job. */
  readonly rank: number;
  readonly type: EventType;
  /** The body that Standard Webhooks recommends: JSON with type, timestamp and data. */
  readonly body: string;
}

/** The events of a job up to now, in order, derived from its documents. */
export function jobEvents(view: JobView): WebhookEvent[] {
  return stateEvents(view).map(({ id: [epoch, phase], data }) => {
    const { state, at, ...more } = data as { state: JobView['state']; at: string };
    const links = {
      self: `/v1/jobs/${view.id}`,
      ...(state === 'done' ? { output: `/v1/jobs/${view.id}/output`, receipt: `/v1/jobs/${view.id}/receipt` } : {}),
    };
    return {
      rank: epoch * 10 + phase,
      type: `job.${state}`,
      body: JSON.stringify({ type: `job.${state}`, timestamp: at, data: { ...more, state, model: view.model, links } }),
    };
  });
}

/** The event of a batch's end, named as OpenAI names it. Undefined for a status that has no event. */
export function batchEvent(batch: { id: string; status: string }, atMs: number): WebhookEvent | undefined {
  const type = EVENT_TYPES.find((one) => one === `batch.${batch.status}`);
  if (type === undefined) return undefined;
  return {
    rank: 1,
    type,
    body: JSON.stringify({
      type,
      timestamp: new Date(atMs).toISOString(),
      data: { id: batch.id, status: batch.status, links: { self: `/v1/batches/${batch.id}` } },
    }),
  };
}
