/** What an endpoint did with the last messages. Absent where the last one was delivered. */
export interface EndpointHealth {
  /** Attempts that failed in a row. */
  readonly failures: number;
  /** When the first of them was, ms. */
  readonly sinceMs: number;
  /** Nothing is sent before this, ms. */
  readonly untilMs: number;
}

/** So many failures in a row are nothing: the messages themselves are tried later and later. */
const FAILURES_WITHOUT_PAUSE = 4;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 600_000;

/**
 * The health of an endpoint after one more failure. Whoever fails again and again is left alone longer and
 * longer, up to ten minutes, and then gets one message: a receiver that is away costs one try in ten minutes,
 * whatever waits for it.
 */
export function afterFailure(before: EndpointHealth | undefined, nowMs: number): EndpointHealth {
  const failures = (before?.failures ?? 0) + 1;
  const beyond = failures - FAILURES_WITHOUT_PAUSE;
  const pauseMs = beyond <= 0 ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(beyond - 1, 20));
  return { failures, sinceMs: Math.min(before?.sinceMs ?? nowMs, nowMs), untilMs: nowMs + pauseMs };
}

/** Whether it has taken nothing for so long (ms), and has been tried since, that nothing more is sent. */
export function isDead({ failures, sinceMs }: EndpointHealth, nowMs: number, deadAfterMs: number): boolean {
  return failures > FAILURES_WITHOUT_PAUSE && nowMs - sinceMs >= deadAfterMs;
}

/** As it is stored: three numbers. */
export function formatHealth({ failures, sinceMs, untilMs }: EndpointHealth): string {
  return `${failures} ${sinceMs} ${Math.ceil(untilMs)}`;
}

/** Undefined for what is not a stored health. */
export function parseHealth(text: string | null | undefined): EndpointHealth | undefined {
  const [, failures, sinceMs, untilMs] = /^(\d{1,15}) (\d{1,16}) (\d{1,16})$/.exec(text ?? '') ?? [];
  if (failures === undefined) return undefined;
  return { failures: Number(failures), sinceMs: Number(sinceMs), untilMs: Number(untilMs) };
}
