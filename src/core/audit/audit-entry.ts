import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';

/** What stands before the first entry. */
export const GENESIS = '0'.repeat(64);

/** Longer details are left out, with their size said: an entry is a note, and no place to keep things. */
const MAX_DETAIL_BYTES = 4_096;
const MAX_NAME_LENGTH = 200;

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/**
 * One act of power. The text of an entry is its canonical JSON (RFC 8785); `prev` is the SHA-256 of the text
 * of the entry before, so that no entry can be changed, left out or put in without changing all that follow.
 */
export const AuditEntry = z.strictObject({
  /** The number of the entry: 0, 1, 2, … without gaps. */
  n: z.int().min(0),
  /** ISO 8601, by the clock of the process that wrote it. */
  at: z.string(),
  /** Id of the API key that acted; `cli` for a holder of Redis' passwords; or the name of a role. */
  by: z.string(),
  action: z.string(),
  target: z.string(),
  /** The tenant that it concerns; null where it concerns the installation. */
  tenant: z.string().nullable(),
  detail: z.unknown(),
  prev: Sha256,
});
export type AuditEntry = z.infer<typeof AuditEntry>;

/** What an act says of itself; the log adds number, time and chain. */
export interface AuditAct {
  readonly by: string;
  readonly action: string;
  readonly target: string;
  readonly tenant: string | null;
  readonly detail: object;
}

/** The text of the next entry after one with this number and text. */
export function entryText(act: AuditAct, n: number, previous: string | undefined, atMs: number): string {
  const detail = JSON.stringify(act.detail);
  const isLong = Buffer.byteLength(detail) > MAX_DETAIL_BYTES;
  const entry: AuditEntry = {
    n,
    at: new Date(atMs).toISOString(),
    by: act.by.slice(0, MAX_NAME_LENGTH),
    action: act.action,
    target: act.target.slice(0, MAX_NAME_LENGTH),
    tenant: act.tenant,
    // By way of JSON, which leaves out what is undefined, as a reader will find it.
    detail: isLong ? { leftOut: Buffer.byteLength(detail) } : JSON.parse(detail),
    prev: previous === undefined ? GENESIS : sha256Hex(previous),
  };
  return canonicalJson(entry);
}

/**
 * The entry in a text; undefined where it is none, as whoever holds the API's Redis login may have written.
 */
export function parseEntry(text: string): AuditEntry | undefined {
  try {
    return AuditEntry.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** What the transparency log is told of the audit log: how many entries it has, and the hash of the last. */
export function headText(entries: number, lastText: string): string {
  return canonicalJson({ type: 'countersign/audit-head/v1', entries, sha256: sha256Hex(lastText) });
}

/** What is wrong with a run of entries; undefined where nothing is. */
export class AuditChain {
  #next: number | undefined;
  #previous: string | undefined;

  /** Whether the run begins with the first entry of all. */
  startsAtGenesis = false;

  /** How many entries there are, counted from the first of all. */
  get entries(): number {
    return this.#next ?? 0;
  }

  /** Takes the next line. Returns what is wrong with it, or undefined. */
  take(line: string): string | undefined {
    const entry = parseEntry(line);
    const at = this.#next === undefined ? 'the first line' : `entry ${this.#next}`;
    if (entry === undefined) return `${at} is no entry`;
    if (canonicalJson(entry) !== line) return `${at} is not in canonical form`;
    if (this.#next === undefined) {
      this.startsAtGenesis = entry.n === 0;
      if (entry.n === 0 && entry.prev !== GENESIS) return 'the first entry names one before it';
    } else {
      if (entry.n !== this.#next) return `entry ${this.#next} is missing: ${entry.n} follows`;
      if (entry.prev !== sha256Hex(this.#previous ?? ''))
        return `entry ${entry.n - 1} is not what entry ${entry.n} was chained to`;
    }
    this.#next = entry.n + 1;
    this.#previous = line;
    return undefined;
  }
}
