import { freshRandom } from './random.ts';

/** The digits of ULIDs, in lower case. */
export const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';
const TIME_DIGITS = 10;
const RANDOM_DIGITS = 16;

/** A new ULID in lower case: 48 bits of time (ms) and 80 random bits. */
export function newUlid(nowMs: number): string {
  let text = '';
  for (let time = nowMs, digit = 0; digit < TIME_DIGITS; digit += 1) {
    text = (CROCKFORD[time % 32] ?? '') + text;
    time = Math.floor(time / 32);
  }
  return text + digitsOf(freshRandom(RANDOM_DIGITS));
}

/** Another ULID of the same time: its other digits are those of 16 bytes at least, five bits of each. */
export function siblingOf(ulid: string, bytes: Uint8Array): string {
  return ulid.slice(0, TIME_DIGITS) + digitsOf(bytes.subarray(0, RANDOM_DIGITS));
}

function digitsOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => CROCKFORD[byte & 31] ?? '').join('');
}
