import { createHash } from 'node:crypto';

/** Hex digits of a token, and of the secret that it stands for. */
const LENGTH = 16;

/** The token of a claim whose holder knows this secret (16 hex digits); begun.lua makes the same of it. */
export function tokenOf(secret: string): string {
  return createHash('sha1').update(secret).digest('hex').slice(0, LENGTH);
}

/**
 * When (ms) the engine of a claim began, within the time in which it can have run; undefined where nothing
 * says so. A claim is `<worker> <token> <ms>`, with `begins` behind it where the place of an engine was free,
 * and a beginning is `<secret> <ms>`. Any worker of the pool can write a beginning, and only one that knows
 * the claim's secret counts.
 */
export function beganMsOf(claim: string, began: string | undefined, running: Span): number | undefined {
  const [, token, , word] = claim.split(' ', 4);
  if (word === 'begins') return running.from;
  const [secret = '', ms] = (began ?? '').split(' ', 2);
  return secret.length === LENGTH && tokenOf(secret) === token ? within(running, ms) : undefined;
}

/** The time between two moments (ms). */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** The time (ms) in a text, moved into this span; its beginning where the text is no time. */
export function within({ from, to }: Span, text = ''): number {
  const ms = /^\d{1,15}$/.test(text) ? Number(text) : from;
  return Math.max(from, Math.min(ms, to));
}
