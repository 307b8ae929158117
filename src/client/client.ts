import { z } from 'zod';
import type { Cancellation, Job } from '../proof/contract/job.ts';
import { isFinal, JOB_STATES } from '../proof/contract/job-states.ts';
import type { JobRequest } from '../proof/contract/job-request.ts';
import { parseRetryAfter } from '../proof/contract/retry-after.ts';
import type { TaskName as Task, TaskOutputs } from '../proof/contract/task-types.ts';
import type { VerifiedReceipt } from '../proof/contract/verified-receipt.ts';
import type { Why } from '../proof/contract/why.ts';
import { INPUTS, OUTPUTS } from '../proof/tasks/task-input.ts';
import { Keyring, KeyringFile } from '../proof/receipts/keyring.ts';
import { verifyReceipt } from '../proof/receipts/receipt.ts';
import { CountersignError } from './countersign-error.ts';
import { readEvents, type JobEvent } from './event-source.ts';
import { OwnerMemory } from './owner-memory.ts';

export { CountersignError } from './countersign-error.ts';
export type { JobEvent } from './event-source.ts';
export type { OwnerMemory, Profiling, Recalling, Remembering } from './owner-memory.ts';
export type { FoundMemory, Memory, MemoryErasure, MemoryProfile } from '../proof/contract/memory.ts';
export type { Job as JobDocument } from '../proof/contract/job.ts';
export type { JobRequest, VerifiedReceipt, Why };
export type OutputOf<T extends Task> = TaskOutputs[T];

export interface ClientOptions {
  /** Address of the API. */
  readonly url: string;
  /** An API key. */
  readonly key: string;
  /**
   * The keyring of the operator, from a source that you trust: its keys are the ones whose signatures count.
   * Without it, the client trusts the keyring that the service itself serves at first use. A receipt then
   * proves less: only that the service has not changed its keys since.
   */
  readonly keyring?: unknown;
  /** For tests and proxies. */
  readonly fetch?: typeof fetch;
}

/** A confirmed answer: its receipt was verified here, with what was asked and what was answered. */
export interface Answer<T extends Task = Task> {
  readonly job: Job;
  readonly output: OutputOf<T>;
  /** The receipt file, to keep. */
  readonly receipt: Uint8Array;
  readonly verified: VerifiedReceipt;
}

const WAIT_S = 30;
const MAX_TRIES = 8;
/** Tries from a page whose browser has let no answer through yet: most likely it never will. */
const FIRST_TRIES = 2;
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 30_000;

/**
 * A client that returns no answer that it has not verified. It works wherever there is `fetch`, with any
 * number of calls at once. Every method throws CountersignError with the stable code of the service, or an
 * error named `ReceiptRefused` where a receipt does not hold.
 */
export class Countersign {
  readonly #url: string;
  readonly #key: string;
  readonly #fetch: typeof fetch;
  #keyring: Promise<Keyring> | undefined;
  /** Whether the service has ever answered here. */
  #hasAnswered = false;

  constructor({ url, key, keyring, fetch: own }: ClientOptions) {
    this.#url = url.replace(/\/$/, '');
    this.#key = key;
    this.#fetch = own ?? ((input, init) => fetch(input, init));
    if (keyring !== undefined) this.#keyring = Promise.resolve(new Keyring(KeyringFile.parse(keyring)));
  }

  /**
   * Submits a job. After a lost connection or a busy service it tries again under the same key, so that there
   * is one job.
   */
  async submit(job: JobRequest, options: { idempotencyKey?: string; signal?: AbortSignal } = {}): Promise<Job> {
    const response = await this.#send('/v1/jobs', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'idempotency-key': `"${options.idempotencyKey ?? crypto.randomUUID()}"`,
      },
      body: JSON.stringify(job),
      ...signalOf(options),
    });
    return (await response.json()) as Job;
  }

  /** Submits, waits and verifies. */
  async run<T extends Task>(
    job: JobRequest & { task: T },
    options: { idempotencyKey?: string; signal?: AbortSignal } = {},
  ): Promise<Answer<T>> {
    const { id } = await this.submit(job, options);
    return this.wait<T>(id, { ...options, input: job.input });
  }

  /**
   * The answer, once it is confirmed and its receipt verified. With `input`, the receipt is also compared
   * with what was asked. Throws CountersignError where the job ends otherwise.
   */
  async wait<T extends Task>(id: string, options: { input?: unknown; signal?: AbortSignal } = {}): Promise<Answer<T>> {
    let job = await this.job(id, options);
    while (!isFinal(job.state)) job = await this.job(id, { ...options, waitS: WAIT_S });
    if (job.state !== 'done')
      throw new CountersignError(
        `job_${job.state}`,
        `Job ${id} is ${job.state}: ${job.reason?.detail ?? 'no reason was given'}`,
        undefined,
      );
    const [output, receipt] = await Promise.all([
      this.#bytes(`/v1/jobs/${id}/output`, options),
      this.#bytes(`/v1/jobs/${id}/receipt`, options),
    ]);
    const task = job.task as T;
    const verified = await this.verify(receipt, {
      output,
      ...(options.input === undefined
        ? {}
        : { input: new TextEncoder().encode(JSON.stringify(INPUTS[task].parse(options.input))) }),
    });
    if (verified.ticket.job !== id || verified.ticket.task !== task)
      throw new CountersignError('receipt_refused', `The receipt that came is not the one of job ${id}.`, undefined);
    return {
      job,
      output: OUTPUTS[task].parse(JSON.parse(new TextDecoder().decode(output))) as OutputOf<T>,
      receipt,
      verified,
    };
  }

  /** The job as it is now, or after at most `waitS` seconds if it is not final before. */
  async job(id: string, options: { waitS?: number; signal?: AbortSignal } = {}): Promise<Job> {
    const response = await this.#send(`/v1/jobs/${encodeURIComponent(id)}`, {
      headers: options.waitS === undefined ? {} : { prefer: `wait=${options.waitS}` },
      ...signalOf(options),
    });
    return (await response.json()) as Job;
  }

  /** The one thing that holds the job now. */
  async why(id: string, options: { signal?: AbortSignal } = {}): Promise<Why> {
    return (await (await this.#send(`/v1/jobs/${encodeURIComponent(id)}/why`, signalOf(options))).json()) as Why;
  }

  /**
   * Events of a job until it is final. Where the connection breaks, it goes on after the last event. Text in
   * them is provisional.
   */
  async *stream(id: string, options: { signal?: AbortSignal } = {}): AsyncGenerator<JobEvent> {
    let last: string | undefined;
    for (let failures = 0; failures < MAX_TRIES; failures += 1) {
      try {
        const response = await this.#send(`/v1/jobs/${encodeURIComponent(id)}/events`, {
          headers: last === undefined ? {} : { 'last-event-id': last },
          ...signalOf(options),
        });
        for await (const event of readEvents(response)) {
          failures = 0;
          if (event.id !== '') last = event.id;
          yield event;
          if (event.type === 'state' && isFinalState(event.data['state'])) return;
        }
      } catch (error) {
        if (options.signal?.aborted === true || error instanceof CountersignError) throw error;
      }
      await pause(FIRST_RETRY_MS * 2 ** failures, options.signal);
    }
    throw new CountersignError('stream_lost', 'The event stream broke off too often.', undefined);
  }

  /** Asks for the job to be stopped. */
  async cancel(id: string, options: { signal?: AbortSignal } = {}): Promise<Cancellation> {
    const response = await this.#send(`/v1/jobs/${encodeURIComponent(id)}/cancel`, {
      method: 'POST',
      ...signalOf(options),
    });
    return (await response.json()) as Cancellation;
  }

  /**
   * Erases input, parameters and output of a job that has ended; what is left of the job. Throws
   * CountersignError `job_not_ended` while it is open.
   */
  async erase(id: string, options: { signal?: AbortSignal } = {}): Promise<Job> {
    const response = await this.#send(`/v1/jobs/${encodeURIComponent(id)}`, { method: 'DELETE', ...signalOf(options) });
    return (await response.json()) as Job;
  }

  /** What this service keeps of a person, by your name for them. A text that is sent twice is kept once. */
  memory(owner: string): OwnerMemory {
    return new OwnerMemory(async (path, method, body) => {
      const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
      return (await this.#send(path, { method, ...(body === undefined ? {} : json) })).json();
    }, owner);
  }

  /** Verifies a receipt, from its bytes and the keyring alone. Throws ReceiptRefused with the reason. */
  async verify(
    receipt: Uint8Array,
    documents: { output?: Uint8Array; input?: Uint8Array } = {},
  ): Promise<VerifiedReceipt> {
    this.#keyring ??= this.#firstKeyring();
    return verifyReceipt(receipt, await this.#keyring, documents);
  }

  async #firstKeyring(): Promise<Keyring> {
    const response = await this.#send('/.well-known/countersign.json', {});
    return new Keyring(KeyringFile.parse(await response.json()));
  }

  async #bytes(path: string, options: { signal?: AbortSignal }): Promise<Uint8Array> {
    return new Uint8Array(await (await this.#send(path, signalOf(options))).arrayBuffer());
  }

  /** Sends a request; tries again where it may succeed later, not sooner than the service asks. */
  async #send(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${this.#key}`);
    for (let tries = 1; ; tries += 1) {
      let failure: unknown;
      let waitMs = FIRST_RETRY_MS * 2 ** (tries - 1);
      try {
        const response = await this.#fetch(`${this.#url}${path}`, { ...init, headers });
        this.#hasAnswered = true;
        if (response.ok) return response;
        const error = await CountersignError.from(response);
        if (response.status !== 429 && response.status < 500) throw error;
        failure = error;
        waitMs = Math.max(waitMs, (parseRetryAfter(response.headers.get('retry-after'), Date.now()) ?? 0) * 1_000);
      } catch (error) {
        if (error instanceof CountersignError || init.signal?.aborted === true) throw error;
        failure = error;
      }
      const most = this.#hasAnswered || pageOrigin() === undefined ? MAX_TRIES : FIRST_TRIES;
      if (tries >= most || waitMs > MAX_RETRY_MS)
        throw failure instanceof CountersignError ? failure : connectionFailed(this.#url, failure);
      await pause(waitMs, init.signal ?? undefined);
    }
  }
}

/** The origin of the page that this runs in; undefined outside browsers. */
function pageOrigin(): string | undefined {
  return z.object({ origin: z.string() }).safeParse(Reflect.get(globalThis, 'location')).data?.origin;
}

/** A browser does not tell a page why an answer was kept from it; what is most likely is said here. */
function connectionFailed(url: string, cause: unknown): CountersignError {
  const origin = pageOrigin();
  const why =
    origin === undefined || new URL(url, origin).origin === origin
      ? ''
      : ` It is not reached from here, or it does not let pages of ${origin} call: COUNTERSIGN_CORS_ORIGINS of the service names the origins that may.`;
  return new CountersignError('connection_failed', `No answer from ${url}.${why}`, undefined, { cause });
}

function isFinalState(state: unknown): boolean {
  return JOB_STATES.some((known) => known === state && isFinal(known));
}

function signalOf({ signal }: { signal?: AbortSignal }): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, Math.min(ms, MAX_RETRY_MS));
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
  signal?.throwIfAborted();
}
