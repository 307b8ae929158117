import { CROCKFORD, newUlid } from '../../ground/keys/ulid.ts';
import { poolTag } from '../../ground/redis/keys.ts';
import { JOB_ID } from '../../proof/receipts/fields.ts';

/**
 * A new job id: `job_`, the tag of the pool, and a ULID in lower case, which is 48 bits of time (ms) and 80
 * random bits. The ids of a pool sort by creation, hold nothing that BullMQ refuses (a colon, or digits
 * only), and cannot be guessed.
 */
export function newJobId(pool: string, nowMs: number): string {
  return `job_${poolTag(pool)}${newUlid(nowMs)}`;
}

/** Whether a text has the form of a job id. Any other text is answered like an unknown job. */
export function isJobId(text: string): boolean {
  return JOB_ID.test(text);
}

/** When a job was created (ms), as its id says. */
export function createdMsOf(id: string): number {
  let ms = 0;
  for (const letter of id.slice(8, 18)) ms = ms * 32 + CROCKFORD.indexOf(letter);
  return ms;
}
