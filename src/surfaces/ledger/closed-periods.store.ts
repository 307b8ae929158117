import type { Redis } from 'ioredis';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import type { Records } from '../../ground/blobs/records.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { ClosedPeriod } from '../../proof/contract/closed-period.ts';
import { decodeStored, encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { LedgerEntry } from './ledger-entry.ts';
import type { Format, LedgerRow } from './ledger-lines.ts';

const PAGE = 500;
/** A line is a few hundred bytes; one that does not end is not read to its end. */
const MAX_LINE = 65_536;

/** A period that left Redis, and the statement about it as it was signed. */
export interface Closed {
  readonly period: ClosedPeriod;
  readonly signed: SignedPayload;
}

/**
 * The closed months of ledgers: signed statements in Redis, their entries in files. A month is closed once,
 * and never changes. Any number of calls may run at once.
 */
export class ClosedPeriods {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #exports: BlobStore;
  readonly #statements: Records;

  constructor(redis: Redis, keys: RedisKeys, blobs: Pick<BlobFolders, 'ledgers' | 'ledgerStatements'>) {
    this.#redis = redis;
    this.#keys = keys;
    this.#exports = blobs.ledgers;
    this.#statements = blobs.ledgerStatements;
  }

  /**
   * Records a period as closed, and returns it; the one that was recorded before where there is one. The file
   * decides, since a Redis that comes back older has forgotten it.
   */
  async close({ tenant, month }: ClosedPeriod, signed: SignedPayload): Promise<Closed> {
    await this.#statements.create(nameOf(tenant, month), Buffer.from(encodeStored(signed)));
    const closed = await this.recorded(tenant, month);
    if (closed === undefined) throw new Error(`What was recorded of ${month} is gone.`);
    return closed;
  }

  /** The period as its file has it, which Redis has then too; undefined where it was never closed. */
  async recorded(tenant: string, month: string): Promise<Closed | undefined> {
    const stored = await this.#statements.read(nameOf(tenant, month));
    if (stored === undefined) return undefined;
    const closed = readClosed(stored);
    await this.#redis.hsetnx(this.#keys.ledgerPeriods(tenant), month, stored);
    return closed;
  }

  async find(tenant: string, month: string): Promise<Closed | undefined> {
    const stored = await this.#redis.hgetBuffer(this.#keys.ledgerPeriods(tenant), month);
    return stored === null ? undefined : readClosed(stored);
  }

  /** All closed months of a tenant, the first first. */
  async list(tenant: string): Promise<Closed[]> {
    const found = await this.#redis.hgetallBuffer(this.#keys.ledgerPeriods(tenant));
    return Object.values(found)
      .map(readClosed)
      .toSorted((a, b) => (a.period.month < b.period.month ? -1 : 1));
  }

  /** The exported file, a piece at a time; throws CodedError `blob_missing` where its digest differs. */
  file({ jsonl, csv }: ClosedPeriod, format: Format): AsyncGenerator<Buffer> {
    return this.#exports.read((format === 'csv' ? csv : jsonl).sha256);
  }

  /** The entries of a closed month in pages. Throws as `file`. */
  async *rows(period: ClosedPeriod): AsyncGenerator<LedgerRow[]> {
    let rest = Buffer.alloc(0);
    let page: LedgerRow[] = [];
    for await (const piece of this.file(period, 'jsonl')) {
      rest = Buffer.concat([rest, piece]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        page.push(readRow(rest.subarray(0, end)));
        rest = rest.subarray(end + 1);
        if (page.length < PAGE) continue;
        yield page;
        page = [];
      }
      if (rest.length > MAX_LINE) throw new CodedError('blob_missing', 'The export of a ledger is damaged.');
    }
    yield page;
  }
}

const nameOf = (tenant: string, month: string) => `${sha256Hex(tenant)}-${month}`;

function readRow(line: Buffer): LedgerRow {
  const { job, ...entry } = JSON.parse(line.toString('utf8')) as Record<string, unknown>;
  return { job: String(job), entry: LedgerEntry.parse(entry) };
}

function readClosed(stored: Buffer): Closed {
  const signed = decodeStored(stored);
  if (signed === undefined) throw new CodedError('record_unreadable', 'A closed period of a ledger cannot be read.');
  return { period: ClosedPeriod.parse(JSON.parse(signed.payload.toString('utf8'))), signed };
}
