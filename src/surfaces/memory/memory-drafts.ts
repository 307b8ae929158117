import { randomBytes } from 'node:crypto';
import {
  ENTRY_LIMITS,
  ORIGIN_KINDS,
  trustOfOrigin,
  trustOfOrigins,
  type FormerState,
  type MemoryEntry,
  type MemoryOrigin,
  type OriginKind,
} from '../../proof/memory/entry.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';

/** How the platform came to know something; it writes the time and the trust itself. */
export type OriginDraft = Pick<MemoryOrigin, 'kind' | 'from' | 'reference' | 'rests_on' | 'receipt'> & {
  /** The least of those whose words it rests on, where these are no memories. */
  readonly at_most?: OriginKind | undefined;
};

/** What is to be remembered. The id is drawn before, so that a repetition makes nothing twice. */
export interface MemoryDraft extends Pick<
  MemoryEntry,
  | 'id'
  | 'type'
  | 'text'
  | 'category'
  | 'agent'
  | 'thread'
  | 'source'
  | 'valid_from'
  | 'valid_to'
  | 'metadata'
  | 'supersedes'
  | 'contradicts'
> {
  readonly origin: OriginDraft;
}

/** What a correction changes; what is not named stays. */
export type Correction = Partial<
  Pick<MemoryEntry, 'type' | 'text' | 'category' | 'valid_from' | 'valid_to' | 'metadata'>
>;

/** A new entry of a draft; `trusts` are those of the memories that it rests on. */
export function entryOf({ origin, ...draft }: MemoryDraft, trusts: readonly OriginKind[], nowMs: number): MemoryEntry {
  const at = new Date(nowMs).toISOString();
  const made = originOf(origin, trusts, at);
  return {
    ...draft,
    salt: randomBytes(16).toString('hex'),
    created_at: at,
    updated_at: at,
    version: 1,
    origins: [made],
    trust: made.trust,
    history: [],
  };
}

/**
 * The entry with one more origin: the same was said again. It stays as it is where the same app or model said
 * it before, or where it can hold no more; a memory that is said a thousand times is no longer for it.
 */
export function withOrigin(
  entry: MemoryEntry,
  origin: OriginDraft,
  trusts: readonly OriginKind[],
  nowMs: number,
): MemoryEntry {
  const at = new Date(nowMs).toISOString();
  const added = originOf(origin, trusts, at);
  const isKnown = entry.origins.some(
    ({ kind, from, reference, receipt }) =>
      kind === added.kind &&
      from === added.from &&
      reference === added.reference &&
      // A job has one origin, however often its answer comes: each receipt of it shows the same.
      receipt?.job === added.receipt?.job,
  );
  if (isKnown || entry.origins.length >= ENTRY_LIMITS.origins || isFull(entry)) return entry;
  const origins = [...entry.origins, added];
  const more = { ...next(entry, at), origins, trust: trustOfOrigins(origins) };
  return isTooLong(more) ? entry : more;
}

/**
 * The entry as it was corrected, its former state kept. Who corrects the text is its origin from then on.
 * Throws CodedError `trust_too_low` where less trusted words would take the place of more trusted ones, and
 * `too_many_memories` where the history is full, or too long to be carried.
 */
export function corrected(entry: MemoryEntry, change: Correction, origin: OriginDraft, nowMs: number): MemoryEntry {
  const at = new Date(nowMs).toISOString();
  const wanted = { ...entry, ...change };
  const fields = ['type', 'text', 'category', 'valid_from', 'valid_to', 'metadata'] as const;
  if (fields.every((name) => JSON.stringify(wanted[name]) === JSON.stringify(entry[name]))) return entry;
  const made = originOf(origin, [], at);
  requireTrust(made.trust, entry);
  if (isFull(entry))
    throw new CodedError('too_many_memories', `This memory was changed ${ENTRY_LIMITS.history} times already.`);
  const isNew = wanted.text !== entry.text;
  const changed = {
    ...wanted,
    ...next(entry, at),
    ...change,
    ...(isNew ? { origins: [made], trust: made.trust } : {}),
  };
  if (isTooLong(changed))
    throw new CodedError('too_many_memories', 'This memory and what it was before are as long as a bundle can carry.', {
      hint: 'remember it anew, with the id of this one in supersedes',
    });
  return changed;
}

/** Throws CodedError `trust_too_low` where what has this trust may not take the place of that memory. */
export function requireTrust(trust: OriginKind, target: Pick<MemoryEntry, 'id' | 'trust'>): void {
  if (ORIGIN_KINDS.indexOf(trust) >= ORIGIN_KINDS.indexOf(target.trust)) return;
  throw new CodedError(
    'trust_too_low',
    `What comes from ${trust} cannot take the place of ${target.id}, which comes from ${target.trust}.`,
    { hint: 'keep both: name the other one in contradicts' },
  );
}

function originOf({ at_most, ...origin }: OriginDraft, trusts: readonly OriginKind[], at: string): MemoryOrigin {
  const restsOn = at_most === undefined ? trusts : [...trusts, at_most];
  return { ...origin, at, trust: trustOfOrigin(origin.kind, restsOn) };
}

/** The next version, and the state before it in the history. */
function next(entry: MemoryEntry, at: string): MemoryEntry {
  const { version, updated_at, type, text, category, valid_from, valid_to, metadata, origins, trust } = entry;
  const former: FormerState = {
    version,
    updated_at,
    type,
    text,
    category,
    valid_from,
    valid_to,
    metadata,
    origins,
    trust,
  };
  return { ...entry, version: version + 1, updated_at: at, history: [...entry.history, former] };
}

/** Whether no bundle could carry it: its line is JSON of this length, whatever the order of its members. */
const isTooLong = (entry: MemoryEntry) => Buffer.byteLength(JSON.stringify(entry)) > ENTRY_LIMITS.lineBytes;

const isFull = ({ history }: MemoryEntry) => history.length >= ENTRY_LIMITS.history - 1;
