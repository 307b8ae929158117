import { z } from 'zod';
import { JobId } from '../../proof/receipts/fields.ts';

/** What is kept with a job that asks the question of another one again. */
const RetryMark = z.object({ retried_from: JobId });

/** The mark of a job that asks the question of this one again, and what else is kept with it. */
export function retryMark(id: string, kept: object): string {
  return JSON.stringify({ retried_from: id, ...kept });
}

/** The job whose question a job asks again, by what its surface keeps with it; else undefined. */
export function retriedFrom(surface: string | undefined): string | undefined {
  if (surface?.startsWith('{"retried_from":') !== true) return undefined;
  const mark = RetryMark.safeParse(JSON.parse(surface));
  return mark.success ? mark.data.retried_from : undefined;
}
