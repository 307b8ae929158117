import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RestartPauses } from '../../ground/process/growing-pause.ts';

/** How one process of a role is started. */
export interface ChildSpec {
  readonly name: string;
  readonly role: 'api' | 'worker' | 'attestor' | 'courier';
  readonly env: Record<string, string>;
  readonly logFile: string;
}

const READY_MS = 60_000;

/**
 * One role's process: started, watched, stopped when `up` stops. When it dies it is started again, for as
 * long as it takes, with pauses that grow while it does not stay.
 */
export class Child {
  readonly spec: ChildSpec;
  readonly #program: string;
  readonly #onRestart: (name: string, detail: string) => void;
  readonly #pauses = new RestartPauses();
  #process: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #stopping = false;
  #restart: NodeJS.Timeout | undefined;

  /** `onRestart` is told of each end, and when the next start is. */
  constructor(
    spec: ChildSpec,
    onRestart: (name: string, detail: string) => void,
    program = fileURLToPath(new URL(`../${spec.role}/main.js`, import.meta.url)),
  ) {
    this.spec = spec;
    this.#onRestart = onRestart;
    this.#program = program;
  }

  /**
   * Starts the process and returns the facts of its ready line. Throws CodedError `start_failed` with its
   * error lines.
   */
  async start(): Promise<Record<string, unknown>> {
    const { spec } = this;
    const log = openSync(spec.logFile, 'a', 0o600);
    const logStart = fstatSync(log).size;
    const startedMs = performance.now();
    // The environment holds what this role may know, and nothing else of ours. The channel ends when we die,
    // and the child with it.
    const child = fork(this.#program, [], {
      execArgv: [],
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...spec.env },
      stdio: ['ignore', 'pipe', log, 'ipc'],
      detached: true,
    });
    closeSync(log);
    this.#process = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    try {
      const facts = await whenReady(child, spec, logStart);
      child.once('exit', (code, signal) => this.#died(signal ?? `exit code ${code ?? 0}`, startedMs));
      return facts;
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Asks the process to end, and resolves when it has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    this.#process?.kill('SIGTERM');
    await this.#exited;
  }

  /** Tells the process to read its files again. */
  reread(): void {
    this.#process?.kill('SIGHUP');
  }

  #died(how: string, startedMs: number): void {
    if (this.#stopping) return;
    const pauseMs = this.#pauses.after(performance.now() - startedMs);
    this.#onRestart(
      this.spec.name,
      `ended (${how}) and is restarted in ${pauseMs / 1_000} s; see ${this.spec.logFile}`,
    );
    this.#restart = setTimeout(() => {
      const againMs = performance.now();
      this.start().catch((error: unknown) => this.#died(messageOf(error), againMs));
    }, pauseMs);
  }
}

/** The facts of the ready line. Rejects when the process ends first, or is not ready in time. */
function whenReady(child: ChildProcess, spec: ChildSpec, logStart: number): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(startFailure(spec, logStart, `was not ready within ${READY_MS / 1_000} s`)),
      READY_MS,
    );
    child.once('error', (cause) => {
      clearTimeout(timer);
      reject(new CodedError('start_failed', `The ${spec.name} cannot be started: ${messageOf(cause)}.`, { cause }));
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(startFailure(spec, logStart, `ended at once (${signal ?? `exit code ${code ?? 0}`})`));
    });
    if (!child.stdout) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{"ready":true')) return;
      clearTimeout(timer);
      resolve(JSON.parse(line) as Record<string, unknown>);
    });
  });
}

/** The error lines that the process wrote to its log since `logStart`, or what is known from outside. */
function startFailure(spec: ChildSpec, logStart: number, why: string): CodedError {
  const lines = readFileSync(spec.logFile)
    .subarray(logStart)
    .toString('utf8')
    .split('\n')
    .filter((line) => /^(error|hint): /.test(line));
  const message =
    lines.length > 0 ? lines.join(' ').replace(/^error: /, '') : `The ${spec.name} ${why}; see ${spec.logFile}.`;
  return new CodedError('start_failed', message);
}
