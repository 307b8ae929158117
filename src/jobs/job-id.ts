import { randomBytes } from 'node:crypto';

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * A new job id: `job_` and a ULID in lower case, that is 48 bits of time (ms) and 80 random bits. Ids sort by
 * creation, hold nothing that BullMQ refuses (`:` or digits only), and cannot be guessed.
 */
export function newJobId(nowMs: number): string {
  const random = randomBytes(10);
  let value = BigInt(nowMs);
  for (const byte of random) value = (value << 8n) | BigInt(byte);
  let text = '';
  for (let digit = 0; digit < 26; digit += 1) {
    text = (CROCKFORD[Number(value & 31n)] ?? '') + text;
    value >>= 5n;
  }
  return `job_${text}`;
}

/** Whether a text can be a job id at all; anything else is answered like an unknown job. */
export function isJobId(text: string): boolean {
  return /^job_[0-9a-hjkmnp-tv-z]{26}$/.test(text);
}
