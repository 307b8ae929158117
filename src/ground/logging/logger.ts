import { pino, type Logger } from 'pino';
import type { LoggerService } from '@nestjs/common';
import { MACHINE_CLOCK, type Clock } from '../clock/clock.ts';
import { redact } from './redact.ts';

export type { Logger };

/**
 * Structured logs of one process, to standard error. Values that look like secrets are removed by path and by
 * shape, because a secret in a log outlives its rotation.
 */
export function createLogger(role: string, level: string): Logger {
  return pino(
    {
      level,
      base: { role, pid: process.pid },
      redact: {
        paths: ['authorization', '*.authorization', 'password', '*.password', 'headers.authorization'],
        censor: '[secret]',
      },
      formatters: { level: (label) => ({ level: label }) },
      // The whole line: an error that others made says what it likes.
      hooks: { streamWrite: redact },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/**
 * Returns a function that passes on at most one error, or what else is said, in `intervalMs`, with the number
 * that it suppressed since the last one. A broken Redis connection can report thousands of errors a second,
 * and a log that fills the disk would be a second outage.
 */
export function rateLimited<Said = unknown>(
  intervalMs: number,
  write: (said: Said, suppressed: number) => void,
  clock: Clock = MACHINE_CLOCK,
): (said: Said) => void {
  let last = -Infinity;
  let suppressed = 0;
  return (said) => {
    const now = clock.steadyMs();
    if (now - last < intervalMs) {
      suppressed += 1;
      return;
    }
    last = now;
    write(said, suppressed);
    suppressed = 0;
  };
}

/** Nest's own messages in our format; its routine start-up lines at debug level. */
export class NestLog implements LoggerService {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  log(message: unknown): void {
    this.#logger.debug(String(message));
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.#logger.error({ detail: rest.map(String) }, String(message));
  }

  warn(message: unknown): void {
    this.#logger.warn(String(message));
  }

  debug(message: unknown): void {
    this.#logger.trace(String(message));
  }

  verbose(message: unknown): void {
    this.#logger.trace(String(message));
  }
}
