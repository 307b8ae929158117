import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { decodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { MAX_STATEMENT_BYTES } from '../attestation/methods/binding.ts';
import { LANES, LEAVE } from '../backlog/lua-parts.ts';
import { UNSTORED_IN_BATCH_MS, UNSTORED_MS } from '../jobs/erased-record.ts';
import { createdMsOf } from '../jobs/job-id.ts';
import { recordBody, recordBytes } from '../jobs/job-record.ts';
import { JobReader, type JobView } from '../jobs/job.reader.ts';

const SEAL = loadScript(new URL('./lua/seal.lua', import.meta.url), integer, { included: [LANES, LEAVE] });

const PAGE = 200;
const LOOK_EVERY_MS = 500;

interface SealerParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  /** Most ended jobs of a tenant. */
  readonly keepJobs: number;
  readonly logger: Logger;
}

/**
 * Seals jobs that have ended: of an end without a place in the log it makes the record; then what was open of
 * the job goes, and the end is entered where the courier and lists look for it. It follows behind in pages,
 * and decides nothing. Any number of attestors seal at once; sealing twice changes nothing.
 */
export class Sealer {
  readonly #parts: SealerParts;
  readonly #reader: JobReader;
  readonly #looks: PeriodicTask;
  readonly #warn: (error: unknown) => void;

  constructor(parts: SealerParts) {
    this.#parts = parts;
    this.#reader = new JobReader(parts.redis, parts.keys, parts.keys.unsealed);
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `sealing: ${messageOf(error).slice(0, 300)}`),
    );
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  /** Says that there may be something to seal. */
  wake(): void {
    this.#looks.wake();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Seals one page. Returns when to look again (ms). */
  async #look(): Promise<number> {
    const { redis, keys, keepJobs } = this.#parts;
    const size = (await redis.hget(keys.log, 'size')) ?? '0';
    const [confirmed, others] = await Promise.all([
      redis.zrange(keys.unsealed, 0, `(${size}`, 'BYSCORE', 'LIMIT', 0, PAGE),
      redis.zrange(keys.unsealed, '-inf', '(0', 'BYSCORE', 'LIMIT', 0, PAGE),
    ]);
    const args: (string | number | Buffer)[] = confirmed.flatMap((id) => [id, createdMsOf(id), '']);
    const records = await Promise.all(others.map((id) => this.#recordOf(id)));
    others.forEach((id, at) => {
      const record = records[at];
      if (record !== undefined) args.push(id, createdMsOf(id), record);
    });
    if (args.length === 0) return LOOK_EVERY_MS;
    crashPoint('attestor.before-seal');
    await SEAL.run(
      redis,
      [keys.log, keys.unsealed, keys.ended, keys.overfull],
      [keys.prefix, keepJobs, UNSTORED_MS, UNSTORED_IN_BATCH_MS, ...args],
    );
    crashPoint('attestor.after-seal');
    return confirmed.length === PAGE || others.length === PAGE ? 0 : LOOK_EVERY_MS;
  }

  /** The record of a job that ended without a place in the log; undefined where it cannot be made now. */
  async #recordOf(id: string): Promise<Buffer | '' | undefined> {
    try {
      const view = await this.#reader.readStored(id);
      if (view === undefined || view.record !== undefined || view.erased !== undefined) return '';
      return view.ending === undefined ? undefined : await this.#made(view, view.ending);
    } catch (error) {
      this.#warn(error);
      return undefined;
    }
  }

  async #made(view: JobView, ending: JobView['ending'] & object): Promise<Buffer> {
    const { id, tenant, model, ticket } = view;
    if (ticket === undefined) throw new Error(`The ticket of ${id} is gone.`);
    const { redis, keys } = this.#parts;
    const [{ evidence, verdict }, input] = await Promise.all([
      this.#refutation(id),
      redis.hgetBuffer(keys.ticket(id), 'input'),
    ]);
    const body = recordBody({
      ...view,
      ending,
      ticket: readTicket(id, ticket).signed,
      evidence,
      verdict,
      output: undefined,
      // What is not to be stored is not kept to be asked again.
      input: view.isStored ? (input ?? undefined) : undefined,
      salt: undefined,
    });
    return recordBytes({ state: ending.state, index: undefined, endedMs: ending.atMs, tenant, model }, body);
  }

  /** The verdict by which the job was rejected, with the evidence that it is about. */
  async #refutation(id: string): Promise<{ evidence: SignedPayload | undefined; verdict: SignedPayload | undefined }> {
    const { redis, keys } = this.#parts;
    const [verdict, field] = await redis.hmgetBuffer(keys.ruling(id), 'verdict', 'field');
    if (!verdict || !field) return { evidence: undefined, verdict: undefined };
    const name = field.toString('latin1');
    const isFit = (await redis.hstrlen(keys.evidence(id), name)) <= MAX_STATEMENT_BYTES;
    const evidence = isFit ? await redis.hgetBuffer(keys.evidence(id), name) : null;
    return { evidence: evidence === null ? undefined : decodeStored(evidence), verdict: decodeStored(verdict) };
  }
}
