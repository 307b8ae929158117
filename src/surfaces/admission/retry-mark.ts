import { z } from 'zod';
import { JobId } from '../../proof/receipts/fields.ts';
import type { MemoryWork } from '../memory/memory-work.ts';

/** What is kept with a job that asks the question of another one again. */
const RetryMark = z.object({ retried_from: JobId });

/**
 * The mark of a job that asks the question of this one again, and what becomes of its answer: what would have
 * become of the other's. Of the two at most one is done, so that it is remembered once.
 */
export function retryMark(id: string, memory: MemoryWork | undefined): string {
  return JSON.stringify({ retried_from: id, ...(memory === undefined ? {} : { memory }) });
}

/** The job whose question a job asks again, by what its surface keeps with it; else undefined. */
export function retriedFrom(surface: string | undefined): string | undefined {
  if (surface?.startsWith('{"retried_from":') !== true) return undefined;
  const mark = RetryMark.safeParse(JSON.parse(surface));
  return mark.success ? mark.data.retried_from : undefined;
}
