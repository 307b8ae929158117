import { fork, type ChildProcess } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { CodedError } from '../../ground/errors/coded-error.ts';

export interface ChildSpec {
  readonly name: string;
  readonly role: 'api' | 'worker' | 'attestor' | 'courier';
  readonly env: Record<string, string>;
  readonly logFile: string;
}

const READY_MS = 60_000;
const RESTART_DELAY_MS = 1_000;
const MAX_RESTARTS = 10;

/** One role's process: started, watched, started again when it dies, stopped when we stop. */
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

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** The facts of its ready line. Throws CodedError `start_failed` with what it said. */
  async start(): Promise<Record<string, unknown>> {
    const { spec } = this;
    const log = openSync(spec.logFile, 'a', 0o600);
    const sizeBefore = readFileSync(spec.logFile).length;
    // Its environment holds what its role may know, and nothing else of ours. The channel tells it if we die.
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
    const facts = await new Promise<Record<string, unknown>>((resolve, reject) => {
      const fail = (why: string) => {
        const said = readFileSync(spec.logFile)
          .subarray(sizeBefore)
          .toString('utf8')
          .split('\n')
          .filter((line) => /^(error|hint): /.test(line));
        reject(
          new CodedError(
            'start_failed',
            said.length > 0
              ? said.join(' ').replace(/^error: /, '')
              : `The ${spec.name} ${why}; ${spec.logFile} says more.`,
          ),
        );
      };
      const timer = setTimeout(() => fail(`was not ready within ${READY_MS / 1_000} s`), READY_MS);
      child.once('exit', (code, signal) => {
        clearTimeout(timer);
        fail(`ended at once (${signal ?? `exit code ${code ?? 0}`})`);
      });
      if (child.stdout) {
        createInterface({ input: child.stdout }).on('line', (line) => {
          if (!line.startsWith('{"ready":true')) return;
          clearTimeout(timer);
          resolve(JSON.parse(line) as Record<string, unknown>);
        });
      }
    });
    child.once('exit', (code, signal) => this.#died(signal ?? `exit code ${code ?? 0}`));
    return facts;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#process?.kill('SIGTERM');
    await this.#exited;
  }

  killNow(): void {
    this.#stopping = true;
    this.#process?.kill('SIGKILL');
  }

  #died(how: string): void {
    if (this.#stopping) return;
    this.#restarts += 1;
    if (this.#restarts > MAX_RESTARTS) {
      this.#onRestart(this.spec.name, `ended (${how}) too often and is left stopped; ${this.spec.logFile} says why`);
      return;
    }
    this.#onRestart(this.spec.name, `ended (${how}) and is started again`);
    setTimeout(() => {
      if (!this.#stopping) this.start().catch(() => this.#died('did not start'));
    }, RESTART_DELAY_MS);
  }
}
