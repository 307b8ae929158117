import type { INestApplicationContext } from '@nestjs/common';
import type { z } from 'zod';
import { loadConfig } from '../config/load-config.ts';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { createLogger, NestLog, redact, type Logger } from '../logging/logger.ts';

/** Longer than any role takes to drain; a process that still runs after it is ended. */
const SHUTDOWN_MS = 60_000;

/**
 * Runs the process of a role: loads its configuration, opens the application, and closes it at SIGTERM,
 * SIGINT or the end of its parent. Once the role works, one line of JSON, `{"ready":true,…}`, goes to
 * standard output for the parent process. A start that fails writes its code and hint to standard error and
 * exits with the code's status.
 */
export async function runRole<Schema extends z.ZodObject>(
  role: string,
  schema: Schema,
  open: (
    config: z.infer<Schema>,
    logger: Logger,
    nestLog: NestLog,
  ) => Promise<{ app: INestApplicationContext; facts?: Record<string, unknown> }>,
): Promise<void> {
  let logger: Logger | undefined;
  try {
    const config = loadConfig(schema, process.env);
    const level = config['COUNTERSIGN_LOG_LEVEL'];
    logger = createLogger(role, typeof level === 'string' ? level : 'info');
    const { app, facts } = await open(config, logger, new NestLog(logger));
    stopOnSignal(app, logger);
    process.stdout.write(`${JSON.stringify({ ready: true, role, pid: process.pid, ...facts })}\n`);
  } catch (error) {
    reportAndExit(role, error, logger);
  }
}

function stopOnSignal(app: INestApplicationContext, logger: Logger): void {
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), SHUTDOWN_MS).unref();
    logger.info({ signal }, 'stopping');
    app.close().then(
      () => {
        logger.info('stopped');
        process.exit(0);
      },
      (error: unknown) => {
        logger.error(`the stop failed: ${messageOf(error)}`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  // `countersign up` starts its processes with a channel: when it dies, they end too.
  process.on('disconnect', () => stop('parent gone'));
}

function reportAndExit(role: string, error: unknown, logger: Logger | undefined): never {
  const coded =
    error instanceof CodedError ? error : new CodedError('start_failed', messageOf(error), { cause: error });
  if (coded.cause !== undefined) logger?.debug({ err: coded.cause }, 'cause');
  process.stderr.write(`error: ${role}: ${coded.code}: ${redact(coded.message)}\n`);
  if (coded.hint !== undefined) process.stderr.write(`hint: ${coded.hint}\n`);
  process.exit(coded.exitCode);
}
