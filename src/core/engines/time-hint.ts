/** What the operator expects of a model's jobs: it counts until jobs of the size were confirmed. */
export interface TimeHint {
  /** What every job takes (ms). */
  readonly base_ms: number;
  /** What each generated token takes (ms). */
  readonly token_ms: number;
}

/** What is expected of a model. */
export interface ModelHint extends TimeHint {
  /** What its load takes (ms) where models take turns in a worker's memory: it counts until it was loaded. */
  readonly load_ms: number;
}

export const DEFAULT_HINT: ModelHint = { base_ms: 10, token_ms: 0.8, load_ms: 10_000 };
