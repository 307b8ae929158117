import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { isJobId } from './job-id.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { JobList, type JobQuery } from './job-list.ts';
import type { JobReader, JobView } from './job.reader.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import type { LogReader } from '../../proof/tlog/log-reader.ts';
import { formatProof } from '../../proof/tlog/tlog-proof.ts';
import { receiptFile } from '../../proof/receipts/receipt.ts';
import { Evidence, Verdict } from '../../proof/receipts/statements.ts';
import type { Usage } from '../../proof/receipts/fields.ts';
import { cells, oneOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { Chunk } from './job-events.ts';
import { ASK_CANCEL } from './lua-parts.ts';
import { LOOK_AGAIN_MS, waitFor, type Wake } from './wake.ts';
import { isAmong, tenantOf, type Whose } from './whose.ts';

const CANCEL = loadScript(new URL('./lua/cancel.lua', import.meta.url), oneOf('missing', 'final', 'asked', 'logged'), {
  included: [ASK_CANCEL],
});
const READ_CHUNKS = loadScript(new URL('./lua/read-chunks.lua', import.meta.url), parseChunks);

export const CANCEL_STREAM_LENGTH = 10_000;
export const CANCEL_LOOK_MS = 1_000;
const CHUNKS_PER_READ = 200;
const CHUNK_BYTES = 65_536;
const CHUNKS_BYTES = 524_288;
const UNKNOWN = 'There is no job with this id.';

/** What can keep a job's answer from its tenant for a while, such as a payment that is not settled. */
export interface Withholding {
  /** Whether nothing provisional is shown to this tenant. */
  hidesProvisional(tenant: string): boolean;
  /** Resolves when a confirmed answer may be handed out; throws the CodedError that says why it is not. */
  requireReleased(tenant: string, id: string): Promise<void>;
}

export interface ConfirmedOutput {
  readonly bytes: Buffer;
  readonly sha256: string;
  readonly usage: Usage;
  /** The payload of the verdict, as it was signed. */
  readonly verdict: Buffer;
}

/**
 * What may be done with the jobs of a tenant, or with those that certain keys of it made. Any other job
 * answers exactly like one that does not exist.
 */
export class Jobs {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #reader: JobReader;
  readonly #list: JobList;
  readonly #blobs: BlobFolders;
  readonly #wake: Wake;
  readonly #log: LogReader;
  readonly #keyring: Keyring;
  readonly #withholding: Withholding;

  constructor(parts: {
    redis: Redis;
    keys: RedisKeys;
    reader: JobReader;
    blobs: BlobFolders;
    wake: Wake;
    log: LogReader;
    keyring: Keyring;
    withholding: Withholding;
  }) {
    this.#redis = parts.redis;
    this.#keys = parts.keys;
    this.#reader = parts.reader;
    this.#list = new JobList(parts.redis, parts.keys, parts.reader);
    this.#blobs = parts.blobs;
    this.#wake = parts.wake;
    this.#log = parts.log;
    this.#keyring = parts.keyring;
    this.#withholding = parts.withholding;
  }

  /** The job as its documents are now. Throws CodedError `job_not_found`. */
  async get(whose: Whose, id: string): Promise<JobView> {
    const view = isJobId(id) ? await this.#reader.read(id) : undefined;
    if (view === undefined || !isAmong(whose, view)) throw new CodedError('job_not_found', UNKNOWN);
    return view;
  }

  /**
   * Returns the job once `settled` holds, or as it is after `waitMs` or when the signal is aborted. Throws
   * CodedError `job_not_found`.
   */
  async wait(
    whose: Whose,
    id: string,
    waitMs: number,
    signal: AbortSignal,
    settled: (view: JobView) => boolean = (view) => isFinal(view.state),
  ): Promise<JobView> {
    const until = performance.now() + waitMs;
    let wake: () => void = () => undefined;
    using _listening = this.#wake.listen(id, () => wake());
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const view = await this.get(whose, id);
      const left = until - performance.now();
      if (settled(view) || left <= 0 || signal.aborted) return view;
      await waitFor(woken, Math.min(left, LOOK_AGAIN_MS), signal);
    }
  }

  /** A page of these jobs; see `JobList.page`. */
  list(whose: Whose, query: JobQuery): Promise<{ jobs: JobView[]; next: string | undefined }> {
    return this.#list.page(whose, query);
  }

  /**
   * Asks for the job to be cancelled. The attestor ends it once no worker runs it. `final`: it has ended
   * already; `logged`: its confirmation has its place in the log, and it will be done. Throws CodedError
   * `job_not_found`.
   */
  async cancel(whose: Whose, id: string): Promise<'asked' | 'final' | 'logged'> {
    const view = await this.get(whose, id);
    if (isFinal(view.state)) return 'final';
    const reply = await CANCEL.run(
      this.#redis,
      [this.#keys.ticket(id), this.#keys.cancels],
      [this.#keys.prefix, id, CANCEL_STREAM_LENGTH, CANCEL_LOOK_MS],
    );
    if (reply !== 'missing') return reply;
    // It was sealed in the meantime, or was never there.
    await this.get(whose, id);
    return 'final';
  }

  /**
   * The job, where it may be erased: it has ended. Throws CodedErrors `job_not_found` and `job_not_ended`.
   */
  async erasable(whose: Whose, id: string): Promise<JobView> {
    const view = await this.get(whose, id);
    if (!isFinal(view.state))
      throw new CodedError('job_not_ended', `The job is ${view.state}; only a job that has ended can be erased.`, {
        hint: `cancel it first: POST /v1/jobs/${id}/cancel`,
      });
    return view;
  }

  /**
   * The confirmed output and its digest. Throws CodedError `job_not_done` before confirmation, because
   * nothing unconfirmed is served, `erased` where it was erased or is to be, and what
   * `Withholding.requireReleased` throws while the answer is withheld.
   */
  async output(whose: Whose, id: string): Promise<ConfirmedOutput> {
    const { record, evidence, verdict, confirmed } = await this.#confirmed(whose, id);
    const statement = Evidence.parse(JSON.parse(evidence.payload.toString('utf8')));
    const sha256 = statement.subject[0].digest.sha256;
    const isWhole = record.output !== undefined && sha256Hex(record.output) === sha256;
    return {
      bytes: isWhole ? record.output : await this.#blobs.kept.of(id).get(sha256, MAX_OUTPUT_BYTES),
      sha256,
      usage: confirmed.usage ?? statement.predicate.usage,
      verdict: verdict.payload,
    };
  }

  /** The text of the receipt file. Throws like `output`. */
  async receipt(whose: Whose, id: string): Promise<string> {
    const { record, evidence, verdict, index, salt } = await this.#confirmed(whose, id);
    const checkpoint = await this.#log.checkpoint();
    const size = checkpoint === '' ? 0 : parseCheckpoint(checkpoint).size;
    if (index >= size)
      throw new CodedError('log_diverged', 'The log is being recovered, and no proof can be made; ask again later.');
    const hashes = await this.#log.inclusion(index, size);
    const proof = formatProof({ index, hashes, checkpoint });
    return receiptFile(record.ticket, evidence, verdict, { salt: salt.toString('base64'), proof });
  }

  /**
   * Provisional output after a stream id, the stream id of the last chunk returned, and whether more may
   * follow.
   */
  async chunks(tenant: string, id: string, after: string): Promise<{ chunks: Chunk[]; last: string; more: boolean }> {
    if (this.#withholding.hidesProvisional(tenant)) return { chunks: [], last: after, more: false };
    const { chunks, last = after } = await READ_CHUNKS.run(
      this.#redis,
      [this.#keys.openOf(tenant)],
      [this.#keys.chunks(id), after, CHUNKS_PER_READ, CHUNK_BYTES, CHUNKS_BYTES],
    );
    return { chunks, last, more: chunks.length === CHUNKS_PER_READ };
  }

  /** The record of a done job whose verdict confirms what it holds. */
  async #confirmed(whose: Whose, id: string) {
    const { state, record, erased } = await this.get(whose, id);
    if (erased !== undefined) throw wasErased(erased);
    if (state !== 'done' || record === undefined) {
      throw new CodedError(
        'job_not_done',
        `The job is ${state}; only a done job has a confirmed output and a receipt.`,
      );
    }
    await this.#withholding.requireReleased(tenantOf(whose), id);
    const { evidence, verdict, index, salt } = record;
    // An administrator of Redis can write a record, but cannot sign for the attestor.
    const confirmed = evidence && verdict && confirmation(this.#keyring, id, evidence, verdict);
    if (confirmed === undefined || evidence === undefined || verdict === undefined)
      throw new CodedError(
        'job_not_done',
        'The verdict that is stored is not one by which the attestor confirmed this: nothing of it is served.',
      );
    if (index === undefined || salt === undefined) throw new Error(`The record of ${id} has no place in the log.`);
    return { record, evidence, verdict, confirmed, index, salt };
  }
}

/** The CodedError `erased` of a job whose answer is asked for. */
export function wasErased({ id, erasedMs }: { readonly id: string; readonly erasedMs: number }): CodedError {
  return new CodedError(
    'erased',
    `Input, parameters and output of ${id} are erased since ${new Date(erasedMs).toISOString()}, and with them its receipt.`,
  );
}

/** The chunks, and the stream id of the last of them; undefined where there are none. */
function parseChunks(reply: unknown): { chunks: Chunk[]; last: string | undefined } {
  const values = cells(reply).map(text);
  const chunks: Chunk[] = [];
  let last: string | undefined;
  for (let at = 0; at + 4 < values.length; at += 5) {
    const [streamId, epoch, worker = '', place, piece = ''] = values.slice(at, at + 5);
    last = streamId;
    chunks.push({ epoch: Number(epoch), worker, place: Number(place), text: piece });
  }
  return { chunks, last };
}

/**
 * The predicate of the verdict if an attestor signed it and it confirms this evidence of this job, else
 * undefined.
 */
function confirmation(
  keyring: Keyring,
  id: string,
  evidence: SignedPayload,
  signed: SignedPayload,
): Verdict['predicate'] | undefined {
  const parsed = Verdict.safeParse(JSON.parse(signed.payload.toString('utf8')));
  if (!parsed.success) return undefined;
  const { subject, predicate } = parsed.data;
  const key = keyring.find('attestor', signed.keyId, Date.parse(predicate.timeCreated));
  const holds =
    !('refused' in key) &&
    verifyPayload(key, signed) &&
    predicate.decision === 'confirmed' &&
    predicate.job === id &&
    subject[0].digest.sha256 === sha256Hex(evidence.payload);
  return holds ? predicate : undefined;
}
