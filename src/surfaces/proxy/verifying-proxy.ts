import { setTimeout as sleep } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { Secret } from '../../ground/config/secret.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { JsonRefused, decodeUtf8, parseStrictJson } from '../../ground/json/strict-json.ts';
import { JobId } from '../../proof/receipts/fields.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { MAX_RECEIPT_BYTES, verifyReceipt } from '../../proof/receipts/receipt.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { Done } from '../openai/answers.ts';
import { ENDPOINTS } from '../openai/requests.ts';
import { CallerGone, JSON_TYPE, type Call } from './call.ts';
import { CompletionQuestion } from './completion-question.ts';
import { CHECKS, confirmedJob, type Check } from './confirmed-job.ts';
import { firstDifference } from './difference.ts';
import { eventData } from './event-data.ts';
import { PassedJobs, type Asking } from './passed-jobs.ts';
import type { ProxyCounts } from './proxy-counts.ts';
import type { Question } from './question.ts';
import { ResponseQuestion } from './response-question.ts';
import { Unverified } from './unverified.ts';
import { UpstreamRefusal, type Sent, type Upstream } from './upstream.ts';

/** How streams are answered: held until they are confirmed, or passed at once and marked. */
export const STREAM_MODES = ['hold', 'provisional'] as const;
export type StreamMode = (typeof STREAM_MODES)[number];

export interface ProxyParts {
  readonly upstream: Upstream;
  readonly keyring: Keyring;
  readonly required: readonly Check[];
  readonly stream: StreamMode;
  /** The API key for every request, whatever the callers send; undefined: their own. */
  readonly key: Secret | undefined;
  readonly counts: ProxyCounts;
  /** How far the clocks of this machine and of the service may be apart; a minute by default. */
  readonly clockGraceMs?: number;
}

/** The largest answer that is read: several outputs, escaped, with what stands around them. */
const MAX_ANSWER_BYTES = 8 * MAX_OUTPUT_BYTES;
const MAX_EVENT_CHARS = 2 * MAX_OUTPUT_BYTES;
const MAX_LIST_BYTES = 4_194_304;
const MAX_DEPTH = 40;
/** A caller who waits for a held stream hears at this pace that somebody is there. */
const BEAT_MS = 15_000;
const RECEIPT_TRIES = 5;
const FIRST_RETRY_MS = 200;

/** Answers callers of OpenAI's routes with what a service answered, once its receipts have verified. */
export class VerifyingProxy {
  readonly #parts: ProxyParts;
  readonly #passed: PassedJobs;

  constructor(parts: ProxyParts) {
    this.#parts = parts;
    const { clockGraceMs } = parts;
    this.#passed = new PassedJobs(clockGraceMs === undefined ? {} : { graceMs: clockGraceMs });
  }

  /** Answers a request for one of OpenAI's routes. Never throws. */
  async answer(path: string, call: Call): Promise<void> {
    let question: Question | undefined;
    const ids: string[] = [];
    try {
      question = this.#read(path, await call.body(), call);
      const asking = askingOf(question, call);
      if (question.isStreamed && this.#parts.stream === 'provisional')
        await this.#provisional(question, asking, call, ids);
      else await this.#whole(question, asking, call, ids);
      this.#parts.counts.passed(path);
    } catch (cause) {
      const error = this.#note(path, cause, call, ids);
      if (error === undefined) return;
      if (!call.hasBegun || question === undefined) call.refuse(error);
      else {
        await call.write(question.failed(error, ids)).catch(() => undefined);
        call.end();
      }
    }
  }

  /** Passes on a document that no receipt covers: the models of the service. Never throws. */
  async list(path: string, call: Call): Promise<void> {
    await this.#plain('/v1/models', call, async () => {
      const { body } = await this.#ask('GET', path, call, MAX_LIST_BYTES);
      readJson(body);
      call.answer(200, JSON_TYPE, body);
    });
  }

  /** Passes on a receipt that verifies. Never throws. */
  async receipt(id: string, call: Call): Promise<void> {
    await this.#plain('/v1/jobs/{id}/receipt', call, async () => {
      const { body } = await this.#ask('GET', `/v1/jobs/${id}/receipt`, call, MAX_RECEIPT_BYTES);
      let job: string;
      try {
        job = verifyReceipt(body, this.#parts.keyring).ticket.job;
      } catch (error) {
        throw Unverified.from(error);
      }
      if (job !== id) throw new Unverified('other_job', `The receipt is the one of ${job}.`);
      call.answer(200, JSON_TYPE, body);
    });
  }

  async #plain(path: string, call: Call, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (cause) {
      const error = this.#note(path, cause, call, []);
      if (error !== undefined) call.refuse(error);
    }
  }

  #read(path: string, body: Record<string, unknown>, call: Call): Question {
    if ((call.header('countersign-answer') ?? 'confirmed') !== 'confirmed')
      throw new CodedError('request_invalid', 'countersign-answer: a proxy answers with what is confirmed.');
    const asked = withRequired(body, this.#parts.required);
    const endpoint = ENDPOINTS.find((one) => one === path);
    return endpoint === undefined ? new ResponseQuestion(asked) : new CompletionQuestion(endpoint, asked);
  }

  /** The answer of the service, whole, and then to the caller in the form that it asked for. */
  async #whole(question: Question, asking: Asking, call: Call, ids: string[]): Promise<void> {
    const beat = question.isStreamed ? setInterval(() => beatOf(call), BEAT_MS) : undefined;
    try {
      const { stream: _, stream_options: __, ...body } = question.body;
      const given = await this.#ask('POST', question.path, call, MAX_ANSWER_BYTES, JSON.stringify(body));
      ids.push(...idsOf(given.headers['countersign-job'], question.jobs.length));
      const done = await Promise.all(ids.map((_id, index) => this.#confirm(question, ids, index, call)));
      const answer = JSON.stringify(question.answer(done));
      const difference = firstDifference(readJson(given.body), JSON.parse(answer));
      if (difference !== undefined) throw new Unverified('wrong_answer', `${difference}.`);
      for (const { id, createdMs } of done) this.#passed.pass(id, createdMs, asking, Date.now());
      const headers = headersOf(ids, 'done');
      if (!question.isStreamed) {
        call.answer(200, JSON_TYPE, answer, headers);
        return;
      }
      call.begin(headers);
      for (const frame of question.held(done)) await call.write(frame);
      call.end();
    } finally {
      clearInterval(beat);
    }
  }

  /** The stream of the service, frame by frame. */
  async #provisional(question: Question, asking: Asking, call: Call, ids: string[]): Promise<void> {
    const stopped = new AbortController();
    const signal = AbortSignal.any([call.signal, stopped.signal]);
    try {
      const sent = this.#sentOf('POST', question.path, call, JSON.stringify(question.body));
      const answer = await this.#parts.upstream.open(sent, signal);
      ids.push(...idsOf(answer.headers['countersign-job'], question.jobs.length));
      call.begin(headersOf(ids, 'provisional'));
      const pieces = this.#parts.upstream.pieces(answer, signal);
      const confirm = async (index: number) => {
        const done = await this.#confirm(question, ids, index, call);
        this.#passed.pass(done.id, done.createdMs, asking, Date.now());
        return done;
      };
      for await (const frame of question.provisional({ events: parsedEvents(pieces), ids, confirm }))
        await call.write(frame);
      call.end();
    } finally {
      // Whatever the service still sends after the last frame, or after a refusal, is not read.
      stopped.abort(new CallerGone());
    }
  }

  /** The job at this place of a request, by its receipt and its output. Throws Unverified. */
  async #confirm(question: Question, ids: readonly string[], index: number, call: Call): Promise<Done> {
    const { keyring, required } = this.#parts;
    const [id, job] = [ids[index], question.jobs[index]];
    if (id === undefined || job === undefined) throw new Error('There is an id for each job.');
    const [receipt, output] = await Promise.all([
      this.#document(`/v1/jobs/${id}/receipt`, MAX_RECEIPT_BYTES, call),
      this.#document(`/v1/jobs/${id}/output`, MAX_OUTPUT_BYTES, call),
    ]);
    return { index, ...confirmedJob(receipt, output, { id, job, keyring, required }) };
  }

  /** A document of a job that is done; asked for again where the service is busy with itself. */
  async #document(path: string, maxBytes: number, call: Call): Promise<Buffer> {
    for (let tries = 1; ; tries += 1) {
      try {
        return (await this.#ask('GET', path, call, maxBytes)).body;
      } catch (error) {
        if (call.signal.aborted || !(error instanceof CodedError) || error instanceof Unverified) throw error;
        const status = error instanceof UpstreamRefusal ? error.passed.status : error.status;
        const mayPass = status === 429 || status >= 500;
        if (!mayPass || tries >= RECEIPT_TRIES)
          throw new Unverified('no_receipt', `${path} could not be had: ${error.message}`, {
            cause: error,
            hint: 'the API key must have the scope read',
          });
      }
      await sleep(FIRST_RETRY_MS * 2 ** (tries - 1), undefined, { signal: call.signal });
    }
  }

  #ask(method: Sent['method'], path: string, call: Call, maxBytes: number, body?: string) {
    return this.#parts.upstream.ask(this.#sentOf(method, path, call, body), maxBytes, call.signal);
  }

  #sentOf(method: Sent['method'], path: string, call: Call, body: string | undefined): Sent {
    const key = this.#parts.key?.reveal().trim();
    const authorization = key === undefined ? call.header('authorization') : `Bearer ${key}`;
    const own = { authorization, 'idempotency-key': call.header('idempotency-key') };
    const wish = { 'countersign-on-hang-up': call.header('countersign-on-hang-up') };
    return {
      method,
      path,
      headers: {
        accept: '*/*',
        'user-agent': 'countersign-proxy',
        ...(body === undefined ? {} : { 'content-type': 'application/json', ...present(wish) }),
        ...present(own),
      },
      ...(body === undefined ? {} : { body }),
    };
  }

  /** What to tell the caller of an error, and undefined where nobody is there. It is counted. */
  #note(path: string, cause: unknown, { signal }: Call, ids: readonly string[]): CodedError | undefined {
    const { counts } = this.#parts;
    if (signal.aborted && signal.reason instanceof CallerGone) {
      counts.left(path);
      return undefined;
    }
    const error = signal.aborted ? late(cause) : cause;
    if (error instanceof Unverified) counts.refused(path, error.reason, error.message, ids);
    else counts.failed(path);
    return error instanceof CodedError
      ? error
      : new CodedError('internal', `The proxy failed: ${messageOf(error)}.`, { cause: error });
  }
}

const late = (cause: unknown) =>
  new CodedError('upstream_late', 'The exchange took longer than the proxy allows.', { cause });

/** The body, asking the service for the checks that are required, where the caller says nothing of them. */
function withRequired(body: Record<string, unknown>, required: readonly Check[]): Record<string, unknown> {
  const wanted = required.reduce((all, check) => ({ ...all, ...CHECKS[check] }), {});
  const { countersign = {} } = body;
  if (Object.keys(wanted).length === 0 || !isObject(countersign)) return body;
  const asked: unknown = Reflect.get(countersign, 'attestation') ?? {};
  return isObject(asked) ? { ...body, countersign: { ...countersign, attestation: { ...wanted, ...asked } } } : body;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

function askingOf(question: Question, call: Call): Asking {
  const key = call.header('idempotency-key');
  const whole = { key, path: question.path, body: question.body, who: call.header('authorization') ?? '' };
  return {
    sentMs: Date.now(),
    identity: key === undefined ? randomUUID() : sha256Hex(canonicalJson({ ...whole, key })),
    isKeyed: key !== undefined,
  };
}

/** The jobs that the service names for an answer, one for each that was asked for. Throws Unverified. */
function idsOf(header: string | string[] | undefined, count: number): string[] {
  const ids = typeof header === 'string' ? header.split(', ') : [];
  if (ids.length !== count || new Set(ids).size !== count || !ids.every((id) => JobId.safeParse(id).success))
    throw new Unverified('malformed', `The answer does not name the ${count} jobs that were asked for.`);
  return ids;
}

const headersOf = (ids: readonly string[], state: 'done' | 'provisional') => ({
  'countersign-job': ids.join(', '),
  'countersign-state': state,
  'x-request-id': ids[0] ?? '',
  ...(state === 'done' ? { 'countersign-receipt': ids.map((id) => `/v1/jobs/${id}/receipt`).join(', ') } : {}),
});

function beatOf(call: Call): void {
  call.begin({});
  call.write(': waiting\n\n').catch(() => undefined);
}

function readJson(body: Buffer): unknown {
  try {
    return parseStrictJson(decodeUtf8(body), { maxDepth: MAX_DEPTH });
  } catch (error) {
    if (error instanceof JsonRefused) throw new Unverified('malformed', `The answer is not JSON: ${error.message}`);
    throw error;
  }
}

async function* parsedEvents(pieces: AsyncIterable<Uint8Array>): AsyncGenerator {
  for await (const data of eventData(pieces, MAX_EVENT_CHARS))
    yield data === '[DONE]' ? data : readJson(Buffer.from(data));
}

function present(headers: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
