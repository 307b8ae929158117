import { isJobId } from '../jobs/job-id.ts';

/** The BullMQ id of the delivery that follows an epoch: the job's own id at first. */
export function deliveryName(id: string, afterEpoch: number): string {
  return afterEpoch === 0 ? id : `${id}-${afterEpoch}`;
}

/** The id of the job that a delivery's name names; undefined where it is no such name. */
export function deliveredJob(name: unknown): string | undefined {
  const [, id] = typeof name === 'string' ? (/^(job_[0-9a-z]{1,60})(?:-\d{1,4})?$/.exec(name) ?? []) : [];
  return id !== undefined && isJobId(id) ? id : undefined;
}
