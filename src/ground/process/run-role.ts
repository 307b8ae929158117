import type { DynamicModule, INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { loadConfig } from '../config/load-config.ts';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { MetricRole } from '../metrics/metric-table.ts';
import { serveMetrics } from '../metrics/metrics-port.ts';
import { declareMetrics, isUpstreamUp } from '../metrics/process-metrics.ts';
import { createLogger, NestLog, type Logger } from '../logging/logger.ts';
import { DRAIN_SIGNALS, drainMsOf } from './drain-time.ts';
import { redact } from '../logging/redact.ts';
import { RereadableFiles } from './rereadable-files.ts';
import { startTracing } from '../tracing/otlp-spans.ts';

/** Longer than any role takes to end, its drain aside; a process that still runs after it is ended. */
const SHUTDOWN_MS = 60_000;

/** An application, as far as it is ended and asked here. */
interface Running extends Pick<INestApplicationContext, 'get'> {
  close(signal?: string): Promise<void>;
}

/** A role that runs: its application, and what its starter wants to know of it. */
export interface RunningRole {
  readonly app: Running;
  readonly facts?: Record<string, unknown>;
}

/** Nest's options for every role: our log, and errors that come back to the caller. */
export function nestOptions(logger: Logger) {
  return { logger: new NestLog(logger), abortOnError: false } as const;
}

/**
 * The life of a role's process: configuration first, then its module, then signals. `start` makes an
 * application of the module; by default one that only lives, without a port. Prints one line of JSON
 * `{"ready":true,…}` to standard output once the role works, for the process that started it.
 */
export async function runRole<Schema extends z.ZodObject>(
  role: MetricRole,
  schema: Schema,
  moduleOf: (config: z.infer<Schema>, logger: Logger) => DynamicModule,
  start: (module: DynamicModule, config: z.infer<Schema>, logger: Logger) => Promise<RunningRole> = startContext,
): Promise<void> {
  let logger: Logger | undefined;
  try {
    const config = loadConfig(schema, process.env);
    const level = config['COUNTERSIGN_LOG_LEVEL'];
    logger = createLogger(role, typeof level === 'string' ? level : 'info');
    const version = versionOf();
    declareMetrics(role, version);
    const endTracing = await tracing(config, role, version, logger);
    // Before the role tells anybody that it is there: where another process has the port, it ends.
    const metrics = await metricsFacts(config);
    const { app, facts } = await start(moduleOf(config, logger), config, logger);
    stopOnSignal({ app, config, logger, endTracing });
    rereadOnSignal(app, logger);
    process.stdout.write(`${JSON.stringify({ ready: true, role, pid: process.pid, ...facts, ...metrics })}\n`);
  } catch (error) {
    reportAndExit(role, error, logger);
  }
}

/** Serves metrics where the role's configuration names a port; returns where, for the ready line. */
async function metricsFacts(config: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
  const { COUNTERSIGN_METRICS_PORT: port, COUNTERSIGN_METRICS_HOST: host } = config;
  if (typeof port !== 'number' || typeof host !== 'string') return {};
  return { metrics: (await serveMetrics({ host, port }, isUpstreamUp)).url };
}

/** Tells a collector of spans where the role's configuration names one; returns what ends that. */
async function tracing(
  config: Readonly<Record<string, unknown>>,
  role: string,
  version: string,
  logger: Logger,
): Promise<() => Promise<void>> {
  const { COUNTERSIGN_OTLP_ENDPOINT: endpoint, COUNTERSIGN_TRACE_SHARE: share } = config;
  if (typeof endpoint !== 'string' || typeof share !== 'number') return () => Promise.resolve();
  return startTracing({ endpoint, share, role, version }, logger);
}

const Package = z.object({ version: z.string() });

function versionOf(): string {
  return Package.parse(JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))).version;
}

async function startContext(module: DynamicModule, _config: unknown, logger: Logger): Promise<RunningRole> {
  return { app: await NestFactory.createApplicationContext(module, nestOptions(logger)) };
}

interface Stopping {
  readonly app: Running;
  readonly config: Readonly<Record<string, unknown>>;
  readonly logger: Logger;
  readonly endTracing: () => Promise<void>;
}

function stopOnSignal({ app, config, logger, endTracing }: Stopping): void {
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(1), drainMsOf(config, signal) + SHUTDOWN_MS).unref();
    logger.info({ signal }, 'stopping');
    app
      .close(signal)
      .then(endTracing)
      .then(
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
  const drainOn = DRAIN_SIGNALS.find((signal) => signal === config['COUNTERSIGN_DRAIN_ON']);
  for (const signal of new Set(['SIGTERM', 'SIGINT', ...(drainOn === undefined ? [] : [drainOn])] as const))
    process.on(signal, () => stop(signal));
  // `countersign up` starts its processes with a channel: when it dies, they end too.
  process.on('disconnect', () => stop('parent gone'));
}

/** Reads again at SIGHUP what the role can; a file that is unfit changes nothing, and the log says why. */
function rereadOnSignal(app: Pick<Running, 'get'>, logger: Logger): void {
  process.on('SIGHUP', () => {
    const files = rereadable(app);
    if (files === undefined) {
      logger.warn('SIGHUP: this role reads its files at its start: restart it to have them read again');
      return;
    }
    try {
      logger.info({ files: files.reread() }, 'SIGHUP: read again, and gone by from now on');
    } catch (error) {
      const code = error instanceof CodedError ? error.code : undefined;
      logger.error({ code }, `SIGHUP: nothing is changed: ${messageOf(error)}`);
    }
  });
}

function rereadable(app: Pick<Running, 'get'>): RereadableFiles | undefined {
  try {
    return app.get(RereadableFiles, { strict: false });
  } catch {
    // Nest has no other way to say that there is none.
    return undefined;
  }
}

function reportAndExit(role: string, error: unknown, logger: Logger | undefined): never {
  const coded =
    error instanceof CodedError ? error : new CodedError('start_failed', messageOf(error), { cause: error });
  if (coded.cause !== undefined) logger?.debug({ err: coded.cause }, 'cause');
  process.stderr.write(`error: ${role}: ${coded.code}: ${redact(coded.message)}\n`);
  if (coded.hint !== undefined) process.stderr.write(`hint: ${coded.hint}\n`);
  process.exit(coded.exitCode);
}
