import { JOB_STATES } from './job-states.ts';

/**
 * Types of events: one for every state of a job, for the ends of batches, and for what befell an endpoint.
 */
export const EVENT_TYPES = [
  ...JOB_STATES.map((state) => `job.${state}` as const),
  'batch.completed',
  'batch.failed',
  'batch.expired',
  'batch.cancelled',
  'webhook.disabled',
  'webhook.lost',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];
