import { fork, type ChildProcess } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { CodedError } from '../../ground/errors/coded-error.ts';

/** How one process of a role is started. */
export interface ChildSpec {
  readonly name: string;
  readonly role: 'api' | 'worker' | 'attestor' | 'courier';
  readonly env: Record<string, string>;
  readonly logFile: string;
}

const READY_MS = 60_000;
const RESTART_DELAY_MS = 1_000;
const MAX_RESTARTS = 10;

/** One role's process: started, watched, restarted when it dies, stopped when `up` stops. */
export class Child {
  readonly spec: ChildSpec;
  readonly #onRestart: (name: string, detail: string) => void;
  #process: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #stopping = false;
  #restarts = 0;

  constructor(spec: ChildSpec, onRestart: (name: string, detail: string) => void) {
    this.spec = spec;
    this.#onRestart = onRestart;
  }

  /**
   * Starts the process and returns the facts of its ready line. Throws CodedError `start_failed` with its
   * error lines.
   */
  async start(): Promise<Record<string, unknown>> {
    const { spec } = this;
    const log = openSync(spec.logFile, 'a', 0o600);
    const logStart = readFileSync(spec.logFile).length;
    // The environment holds what this role may know, and nothing else of ours. The channel ends when we die,
    // and the child with it.
    const child = fork(fileURLToPath(new URL(`../${spec.role}/main.js`, import.meta.url)), [], {
      execArgv: [],
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...spec.env },
      stdio: ['ignore', 'pipe', log, 'ipc'],
      detached: true,
    });
    this.#process = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
    });
    const facts = await whenReady(child, spec, logStart);
    child.once('exit', (code, signal) => this.#died(signal ?? `exit code ${code ?? 0}`));
    return facts;
  }

  /** Asks the process to end, and resolves when it has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#process?.kill('SIGTERM');
    await this.#exited;
  }

  #died(how: string): void {
    if (this.#stopping) return;
    this.#restarts += 1;
    if (this.#restarts > MAX_RESTARTS) {
      this.#onRestart(this.spec.name, `ended (${how}) too often and is left stopped; see ${this.spec.logFile}`);
      return;
    }
    this.#onRestart(this.spec.name, `ended (${how}) and is restarted`);
    setTimeout(() => {
      if (!this.#stopping) this.start().catch(() => this.#died('did not start'));
    }, RESTART_DELAY_MS);
  }
}

/** The facts of the ready line. Rejects when the process ends first, or is not ready in time. */
function whenReady(child: ChildProcess, spec: ChildSpec, logStart: number): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(startFailure(spec, logStart, `was not ready within ${READY_MS / 1_000} s`)),
      READY_MS,
    );
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
