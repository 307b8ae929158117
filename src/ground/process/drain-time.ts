/** Signals at which a worker may be told to let its jobs end. */
export const DRAIN_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const;

/** As long as any job may take: a day. */
const UNTIL_JOBS_END_MS = 86_400_000;

/**
 * How long (ms) a role that was stopped by this signal lets its work end, by its configuration; 0 where it
 * has none that takes long.
 */
export function drainMsOf(config: Readonly<Record<string, unknown>>, signal: string | undefined): number {
  const { COUNTERSIGN_DRAIN_ON: drainOn, COUNTERSIGN_DRAIN_MS: drainMs } = config;
  if (signal !== undefined && signal === drainOn) return UNTIL_JOBS_END_MS;
  return typeof drainMs === 'number' ? drainMs : 0;
}
