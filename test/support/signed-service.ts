import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { DEFAULTS, attemptsOf, type SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { Keyring } from '../../src/proof/receipts/keyring.ts';
import { policyDigest } from '../../src/proof/receipts/receipt.ts';
import { Policy, statementBytes } from '../../src/proof/receipts/statements.ts';
import { steadySampling } from '../../src/proof/tasks/sampling.ts';
import { textOfOutput } from '../../src/proof/tasks/task-input.ts';
import { answerOf, provisional, type Done } from '../../src/surfaces/openai/answers.ts';
import { ChunkWriter } from '../../src/surfaces/openai/chunk-writer.ts';
import { parseRequest } from '../../src/surfaces/openai/parse-request.ts';
import { ENDPOINTS, readRequest } from '../../src/surfaces/openai/requests.ts';
import { outputOf, responseDocument } from '../../src/surfaces/openai/response-document.ts';
import { ResponseFrames } from '../../src/surfaces/openai/response-frames.ts';
import { ResponseRequest, jobOf } from '../../src/surfaces/openai/response-request.ts';
import { documents, keyringFile, signed } from './sample-receipts.ts';

/** What a service sends; a test may change it on its way. */
export interface SentAnswer {
  readonly path: string;
  status: number;
  headers: Record<string, string>;
  body: string;
}

interface SignedJob {
  readonly done: Done;
  readonly output: string;
  readonly receipt: string;
}

/** The keys of `sample-receipts.ts`, trusted for as long as any clock of a test can show. */
export const serviceKeyring = (): Keyring => {
  const file = keyringFile();
  return new Keyring({ ...file, keys: file.keys.map((key) => ({ ...key, notBefore: '2020-01-01T00:00:00.000Z' })) });
};

/**
 * A service that signs each job with keys of its own and answers with the code of the real surfaces, without
 * queue and workers. It is honest; `change` is where it can be made to lie.
 */
export class SignedService implements AsyncDisposable {
  /** The output of the next jobs, by their place in the request. */
  output: (job: SubmitJob, index: number) => object = outputFor;
  /** How the next jobs are dated, and whether the attestor has computed their answers again. */
  createdMs = (): number => Date.now();
  isRecomputed = true;
  change: (answer: SentAnswer) => SentAnswer | 'hang' = (answer) => answer;
  readonly jobs = new Map<string, SignedJob>();
  readonly asked: { path: string; headers: IncomingMessage['headers']; body: string }[] = [];
  hungUp = 0;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#receive(request, response));
  }

  static async start(): Promise<SignedService> {
    const service = new SignedService();
    await new Promise<void>((resolve) => service.#server.listen(0, '127.0.0.1', resolve));
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Signs a job as it was asked for. */
  sign(job: SubmitJob, index = 0): SignedJob {
    const createdMs = this.createdMs();
    const [input, output] = [JSON.stringify(job.input), JSON.stringify(this.output(job, index))];
    const { ticket, evidence, verdict } = documents(index + 1);
    const id = newJobId('default', createdMs);
    const at = new Date(createdMs).toISOString();
    const policy = Policy.parse({ recompute: this.isRecomputed ? 1 : 0.5, ...job.attestation });
    const params = { ...DEFAULTS, stop: [], seed: this.jobs.size, ...job.params };
    const model = { ...ticket.predicate.model, name: job.model };
    ticket.subject[0].digest.sha256 = sha256Hex(input);
    Object.assign(ticket.predicate, {
      ...{ job: id, model, task: job.task, policy, createdAt: at, inputBytes: Buffer.byteLength(input) },
      params: {
        max_tokens: params.max_tokens,
        ...steadySampling({ temperature: params.temperature ?? 0, top_p: params.top_p ?? 1 }),
        seed: params.seed,
        stop: params.stop,
      },
      attempts: attemptsOf(job.attempts, policy),
      deadline: new Date(createdMs + (job.deadline_ms ?? DEFAULTS.deadlineMs)).toISOString(),
    });
    const ticketSha256 = sha256Hex(statementBytes(ticket));
    const outputSha256 = sha256Hex(output);
    const finishReason = (JSON.parse(output) as { finish_reason?: string }).finish_reason ?? 'none';
    evidence.subject[0].digest.sha256 = outputSha256;
    Object.assign(evidence.predicate, { job: id, ticket: { sha256: ticketSha256 }, finishReason });
    Object.assign(evidence.predicate, { startedAt: at, finishedAt: at, outputBytes: Buffer.byteLength(output) });
    evidence.predicate.model.name = job.model;
    verdict.subject[0].digest.sha256 = sha256Hex(statementBytes(evidence));
    verdict.subject[1].digest.sha256 = outputSha256;
    verdict.predicate.verifier.policies[0].digest.sha256 = policyDigest(policy);
    Object.assign(verdict.predicate, { job: id, ticket: { sha256: ticketSha256 }, timeCreated: at });
    verdict.predicate.recompute = { promisedShare: policy.recompute, drawn: this.isRecomputed };
    if (!this.isRecomputed) {
      verdict.predicate.properties = verdict.predicate.properties.filter((word) => !/RECOMPUTED|RECOUNTED/.test(word));
      verdict.predicate.notChecked.unshift('OUTPUT_NOT_RECOMPUTED');
    }
    const { usage } = evidence.predicate;
    const done = {
      id,
      index,
      createdMs,
      output: JSON.parse(output) as unknown,
      usage,
      verdict: statementBytes(verdict),
    };
    const made = { done, output, receipt: signed({ ticket, evidence, verdict }).toString() };
    this.jobs.set(id, made);
    return made;
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Uint8Array[] = [];
    for await (const piece of request as AsyncIterable<Uint8Array>) pieces.push(piece);
    const [path, body] = [request.url ?? '/', Buffer.concat(pieces).toString()];
    this.asked.push({ path, headers: request.headers, body });
    response.once('close', () => {
      if (!response.writableFinished) this.hungUp += 1;
    });
    const sent = this.change(this.#answer(path, body));
    if (sent !== 'hang') response.writeHead(sent.status, sent.headers).end(sent.body);
  }

  #answer(path: string, body: string): SentAnswer {
    const whole = (text: string, headers = {}) => ({ path, status: 200, headers, body: text });
    const [, id = '', what] = /^\/v1\/jobs\/(job_\w+)\/(receipt|output)$/.exec(path) ?? [];
    if (path === '/v1/models') return whole('{"object":"list","data":[]}');
    if (what === 'receipt') return whole(this.jobs.get(id)?.receipt ?? '');
    if (what === 'output') return whole(this.jobs.get(id)?.output ?? '');
    const { text, ids } = this.#completed(path, JSON.parse(body));
    return whole(text, { 'countersign-job': ids.join(', ') });
  }

  #completed(path: string, body: unknown): { text: string; ids: string[] } {
    const endpoint = ENDPOINTS.find((one) => one === path);
    if (endpoint === undefined) return this.#response(body);
    const asked = readRequest(endpoint, body);
    const done = asked.jobs.map((job, index) => this.sign(job, index).done);
    const ids = done.map((one) => one.id);
    if (!asked.isStreamed) return { text: JSON.stringify(answerOf(asked, done)), ids };
    const chunks = new ChunkWriter(asked, ids[0] ?? '');
    const frames = done.flatMap((one, index) => [
      chunks.opening(index, provisional(one.id, 'queued')) ?? '',
      ...(textOfOutput(one.output).match(/.{1,7}/gsu) ?? []).map((piece) => chunks.piece(index, piece)),
      chunks.last(index, one),
    ]);
    return { text: frames.join('') + chunks.end(done), ids };
  }

  #response(body: unknown): { text: string; ids: string[] } {
    const request = parseRequest(ResponseRequest, body);
    const { job, surface } = jobOf(request);
    const { done } = this.sign(job);
    const { id, createdMs } = done;
    const view = { id, createdMs, model: job.model, state: 'done', ending: undefined } as const;
    const ended = responseDocument(view, surface, done);
    if (request.stream !== true) return { text: JSON.stringify(ended), ids: [id] };
    const frames = new ResponseFrames(
      id,
      responseDocument({ ...view, state: 'queued' }, surface, undefined),
      -1,
      surface,
    );
    const pieces = textOfOutput(done.output).match(/.{1,7}/gsu) ?? [];
    const deltas = pieces.map((piece) => frames.delta(piece));
    return {
      text: [frames.created(), ...deltas, frames.whole(outputOf(id, done, surface)), frames.ended(ended)].join(''),
      ids: [id],
    };
  }
}

/** What it answers where a test says nothing else. */
export function outputFor({ task, input }: SubmitJob, index: number): object {
  if (task === 'embedding') return { embeddings: input.texts.map((text) => [0.5, text.length, 0.25, -1e-7]) };
  if (task === 'completion') return { text: `and ${index} more, 🙂`, finish_reason: 'stop' };
  const thought = input.reasoning?.show === true ? { reasoning_content: 'hm' } : {};
  return { message: { role: 'assistant', ...thought, content: `answer ${index} 🙂` }, finish_reason: 'stop' };
}
