/** What the operator expects of a model: it counts until jobs of the size were confirmed. */
export interface TimeHint {
  /** What every job takes (ms). */
  readonly base_ms: number;
  /** What each generated token takes (ms). */
  readonly token_ms: number;
}

export const DEFAULT_HINT: TimeHint = { base_ms: 10, token_ms: 0.8 };
