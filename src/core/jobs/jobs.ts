import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { isJobId } from './job-id.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { JobReader, JobView } from './job.reader.ts';
import { isFinal, type JobState } from '../../proof/contract/job-states.ts';
import { INLINE_BYTES, MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { decodeStored, verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
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
import { LOOK_AGAIN_MS, waitFor, type Wake } from './wake.ts';

const CANCEL = loadScript(new URL('./lua/cancel.lua', import.meta.url), oneOf('missing', 'final', 'asked', 'logged'));
const READ_CHUNKS = loadScript(new URL('./lua/read-chunks.lua', import.meta.url), parseChunks);

const CANCEL_STREAM_LENGTH = 10_000;
const CANCEL_LOOK_MS = 1_000;
const CHUNKS_PER_READ = 200;
const CHUNK_BYTES = 65_536;
const CHUNKS_BYTES = 524_288;
/**
 * A page ends after this many examined jobs and has a cursor for the rest, so that a filter that matches
 * little never scans a whole index.
 */
const EXAMINED_PER_PAGE = 300;

const UNKNOWN = 'There is no job with this id.';

/** Which of a tenant's jobs, newest first; times are ISO 8601. */
export interface JobQuery {
  readonly state?: JobState | undefined;
  readonly model?: string | undefined;
  readonly created_after?: string | undefined;
  readonly created_before?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

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
 * What a tenant may do with its jobs. A job of another tenant answers exactly like one that does not exist.
 */
export class Jobs {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #reader: JobReader;
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
    this.#blobs = parts.blobs;
    this.#wake = parts.wake;
    this.#log = parts.log;
    this.#keyring = parts.keyring;
    this.#withholding = parts.withholding;
  }

  /** The job as its documents are now. Throws CodedError `job_not_found`. */
  async get(tenant: string, id: string): Promise<JobView> {
    const view = isJobId(id) ? await this.#reader.read(id) : undefined;
    if (view?.tenant !== tenant) throw new CodedError('job_not_found', UNKNOWN);
    return view;
  }

  /**
   * Returns the job once `settled` holds, or as it is after `waitMs` or when the signal is aborted. Throws
   * CodedError `job_not_found`.
   */
  async wait(
    tenant: string,
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
      const view = await this.get(tenant, id);
      const left = until - performance.now();
      if (settled(view) || left <= 0 || signal.aborted) return view;
      await waitFor(woken, Math.min(left, LOOK_AGAIN_MS), signal);
    }
  }

  /**
   * A page of the tenant's jobs, newest first, and the cursor of the next page if there is one. Throws
   * CodedError `request_invalid` for a cursor that this service did not hand out.
   */
  async list(tenant: string, query: JobQuery): Promise<{ jobs: JobView[]; next: string | undefined }> {
    const index = this.#indexFor(tenant, query);
    const min = query.created_after === undefined ? '-inf' : `(${Date.parse(query.created_after)}`;
    const before = query.created_before === undefined ? Infinity : Date.parse(query.created_before);
    let position = query.cursor === undefined ? undefined : parseCursor(query.cursor);
    const jobs: JobView[] = [];
    for (let examined = 0; examined < EXAMINED_PER_PAGE;) {
      const max = position === undefined ? (before === Infinity ? '+inf' : `(${before}`) : String(position.createdMs);
      const rows = await this.#redis.zrange(
        index,
        max,
        min,
        'BYSCORE',
        'REV',
        'LIMIT',
        0,
        query.limit + 1 + (position?.skip ?? 0),
        'WITHSCORES',
      );
      const found = pairs(rows).filter(
        ({ id, createdMs }) => position === undefined || createdMs < position.createdMs || id < position.id,
      );
      if (found.length === 0) return { jobs, next: undefined };
      const views = await Promise.all(found.map(({ id }) => this.#reader.read(id)));
      for (const [at, entry] of found.entries()) {
        examined += 1;
        position = {
          ...entry,
          skip: found.filter(({ createdMs }, other) => other <= at && createdMs === entry.createdMs).length,
        };
        const view = views[at];
        if (view === undefined || view.tenant !== tenant) continue;
        if (query.state !== undefined && view.state !== query.state) continue;
        if (query.model !== undefined && view.model !== query.model) continue;
        jobs.push(view);
        if (jobs.length === query.limit) return { jobs, next: formatCursor(position) };
      }
    }
    return { jobs, next: position === undefined ? undefined : formatCursor(position) };
  }

  /** What the surface that submitted the job stored with it, or undefined. */
  async surface(id: string): Promise<string | undefined> {
    return (await this.#redis.hget(this.#keys.job(id), 'surface')) ?? undefined;
  }

  /**
   * Asks for the job to be cancelled. The attestor ends it once no worker runs it. `final`: it has ended
   * already; `logged`: its confirmation has its place in the log, and it will be done. Throws CodedError
   * `job_not_found`.
   */
  async cancel(tenant: string, id: string): Promise<'asked' | 'final' | 'logged'> {
    const view = await this.get(tenant, id);
    if (isFinal(view.state)) return 'final';
    const reply = await CANCEL.run(
      this.#redis,
      [this.#keys.ticket(id), this.#keys.cancels],
      [this.#keys.prefix, id, CANCEL_STREAM_LENGTH, CANCEL_LOOK_MS],
    );
    if (reply === 'missing') throw new CodedError('job_not_found', UNKNOWN);
    return reply;
  }

  /**
   * The confirmed output and its digest. Throws CodedError `job_not_done` before confirmation, because
   * nothing unconfirmed is served, and what `Withholding.requireReleased` throws while the answer is
   * withheld.
   */
  async output(tenant: string, id: string): Promise<ConfirmedOutput> {
    const { field, evidence, verdict, confirmed } = await this.#documents(tenant, id);
    const statement = Evidence.parse(JSON.parse(evidence.payload.toString('utf8')));
    const sha256 = statement.subject[0].digest.sha256;
    return {
      bytes: (await this.#inlineOutput(id, field, sha256)) ?? (await this.#blobs.kept.get(sha256, MAX_OUTPUT_BYTES)),
      sha256,
      usage: confirmed.usage ?? statement.predicate.usage,
      verdict: verdict.payload,
    };
  }

  /**
   * The small output beside the evidence, if it has this digest: any worker of the pool can write beside
   * another's evidence.
   */
  async #inlineOutput(id: string, field: string, sha256: string): Promise<Buffer | undefined> {
    const key = this.#keys.evidence(id);
    if ((await this.#redis.hstrlen(key, `${field}:o`)) > INLINE_BYTES) return undefined;
    const inline = await this.#redis.hgetBuffer(key, `${field}:o`);
    return inline !== null && sha256Hex(inline) === sha256 ? inline : undefined;
  }

  /** The text of the receipt file. Throws like `output`. */
  async receipt(tenant: string, id: string): Promise<string> {
    const { ticket, evidence, verdict, log } = await this.#documents(tenant, id);
    const { salt, index, size } = log;
    // The checkpoint with which the job was confirmed; a later one proves the same.
    const kept = await this.#redis.get(this.#keys.logAt(size));
    const checkpoint = kept ?? (await this.#log.checkpoint());
    const hashes = await this.#log.inclusion(index, kept === null ? parseCheckpoint(checkpoint).size : size);
    return receiptFile(ticket, evidence, verdict, { salt, proof: formatProof({ index, hashes, checkpoint }) });
  }

  /**
   * Provisional output after a stream id, the stream id of the last chunk returned, and whether more may
   * follow.
   */
  async chunks(tenant: string, id: string, after: string): Promise<{ chunks: Chunk[]; last: string; more: boolean }> {
    if (this.#withholding.hidesProvisional(tenant)) return { chunks: [], last: after, more: false };
    const { chunks, last = after } = await READ_CHUNKS.run(
      this.#redis,
      [this.#keys.jobsOf(tenant)],
      [this.#keys.chunks(id), after, CHUNKS_PER_READ, CHUNK_BYTES, CHUNKS_BYTES],
    );
    return { chunks, last, more: chunks.length === CHUNKS_PER_READ };
  }

  async #documents(tenant: string, id: string) {
    const view = await this.get(tenant, id);
    if (view.state !== 'done') {
      throw new CodedError(
        'job_not_done',
        `The job is ${view.state}; only a done job has a confirmed output and a receipt.`,
      );
    }
    await this.#withholding.requireReleased(tenant, id);
    const [verdict, field, logged, logSize] = await this.#redis.hmgetBuffer(
      this.#keys.ruling(id),
      'verdict',
      'field',
      'logged',
      'log',
    );
    const [, index, salt] = logged?.toString('latin1').split(' ') ?? [];
    const evidence = field && (await this.#redis.hgetBuffer(this.#keys.evidence(id), field.toString('latin1')));
    const decoded = {
      ticket: decodeStored(Buffer.from(view.ticket)),
      evidence: evidence ? decodeStored(evidence) : undefined,
      verdict: verdict ? decodeStored(verdict) : undefined,
    };
    // Retention removes all documents of a job at once, perhaps between two of these reads.
    if (!decoded.ticket || !decoded.evidence || !decoded.verdict || !field || !logSize || salt === undefined)
      throw new CodedError('job_not_found', UNKNOWN);
    // An administrator of Redis can write a state, but cannot sign for the attestor.
    const confirmed = confirmation(this.#keyring, id, decoded.evidence, decoded.verdict);
    if (confirmed === undefined)
      throw new CodedError(
        'job_not_done',
        'The verdict that is stored is not one by which the attestor confirmed this: nothing of it is served.',
      );
    return {
      ticket: decoded.ticket,
      evidence: decoded.evidence,
      verdict: decoded.verdict,
      confirmed,
      log: { salt, index: Number(index), size: Number(logSize.toString('latin1')) },
      field: field.toString('latin1'),
    };
  }

  #indexFor(tenant: string, query: JobQuery): string {
    if (query.state !== undefined && isFinal(query.state)) return this.#keys.endedOf(tenant, query.state);
    if (query.state === 'running') return this.#keys.running(tenant);
    if (query.model !== undefined && /^[a-z0-9-]{1,63}$/.test(query.model))
      return this.#keys.jobsOfModel(tenant, query.model);
    return this.#keys.jobsOf(tenant);
  }
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

interface Position {
  readonly createdMs: number;
  readonly id: string;
  /** Entries of the same millisecond on earlier pages. */
  readonly skip: number;
}

function pairs(rows: readonly string[]): { id: string; createdMs: number }[] {
  const found = [];
  for (let at = 0; at + 1 < rows.length; at += 2) found.push({ id: rows[at] ?? '', createdMs: Number(rows[at + 1]) });
  return found;
}

function formatCursor({ createdMs, id, skip }: Position): string {
  return Buffer.from(`${createdMs}.${skip}.${id}`).toString('base64url');
}

function parseCursor(text: string): Position {
  const parts = /^(\d{1,15})\.(\d{1,6})\.(.*)$/.exec(Buffer.from(text, 'base64url').toString('latin1'));
  const [, createdMs, skip, id = ''] = parts ?? [];
  if (!isJobId(id)) throw new CodedError('request_invalid', 'The cursor is not one that this service handed out.');
  return { createdMs: Number(createdMs), skip: Number(skip), id };
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
