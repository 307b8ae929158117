import type { Task } from '../../proof/receipts/fields.ts';
import type { TimeHint } from '../engines/time-hint.ts';

/** What is known of a job's length before it runs. */
export interface JobSize {
  readonly task: Task;
  readonly maxTokens: number;
  readonly inputBytes: number;
}

/** A typical answer has this share of the tokens that it may have. */
const TYPICAL_SHARE = 0.5;
/** Bytes of a prompt that take as long as one generated token, which is read in one pass; as in `costOf`. */
const PROMPT_BYTES_PER_TOKEN = 40;

/** Jobs of one class are expected to take alike: one task, most tokens and input within a factor of four. */
export function sizeClassOf({ task, maxTokens, inputBytes }: JobSize): string {
  return `${task}.${task === 'embedding' ? 0 : quarterLog(maxTokens)}.${quarterLog(inputBytes / 4)}`;
}

/** What a slot is expected to be held for (ms) by a job of which nothing was learned. */
export function hintedMs({ task, maxTokens, inputBytes }: JobSize, hint: TimeHint): number {
  const generated = task === 'embedding' ? 0 : maxTokens * TYPICAL_SHARE;
  return Math.max(1, hint.base_ms + hint.token_ms * (generated + inputBytes / PROMPT_BYTES_PER_TOKEN));
}

function quarterLog(count: number): number {
  return Math.ceil(Math.log(Math.max(1, count)) / Math.log(4) - 1e-9);
}
