import { z } from 'zod';
import { MemoryEntry, MemoryTombstone } from '../../proof/memory/entry.ts';
import { JobId, MemoryId, Sha256, Time } from '../../proof/receipts/fields.ts';
import { MAX_RECEIPT_BYTES } from '../../proof/receipts/receipt.ts';
import { HISTORY_CALLS } from './history-calls.ts';
import { MemoryFilter } from './memory-filter.ts';
import { MAX_LINES, MAX_LINES_OF_EACH, Profile } from './profile.ts';
import { SEARCH_MODES } from './ranking.ts';

/** Most memories of one request to write, to erase, or to read. */
export const MAX_AT_ONCE = 1_000;
/** Most receipts that are read at once: they are long. */
export const MAX_RECEIPTS_AT_ONCE = 100;
/** Most results of a search. */
export const MAX_RESULTS = 100;

/** The name of an owner as the caller says it: whatever tells persons apart. */
export const OwnerName = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{C}\p{Z}](?:[^\p{C}]*[^\p{C}\p{Z}])?$/u, 'must be printable, without spaces at its ends');

/**
 * Who asks, and for which memories: those of this owner that one of the `sources` wrote, API keys of the
 * tenant; null stands for all. Without an owner, the id of a memory says whose it is.
 */
export const Whose = z.strictObject({
  tenant: z.string(),
  owner: OwnerName.nullable(),
  by: z.string(),
  sources: z.array(z.string()).nullable(),
});
export type Whose = z.infer<typeof Whose>;

const ownedBy = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject({ whose: Whose, ...shape });
const Ids = z.array(MemoryId).min(1).max(MAX_AT_ONCE);

const { shape } = MemoryEntry;
export const OriginDraft = z.strictObject({
  kind: shape.origins.element.shape.kind,
  from: shape.origins.element.shape.from,
  reference: shape.origins.element.shape.reference,
  rests_on: shape.origins.element.shape.rests_on,
  receipt: shape.origins.element.shape.receipt,
  at_most: shape.origins.element.shape.kind.optional(),
});
const STATE = {
  type: shape.type,
  text: shape.text,
  category: shape.category,
  valid_from: shape.valid_from,
  valid_to: shape.valid_to,
  metadata: shape.metadata,
};
const Draft = z.strictObject({
  id: MemoryId,
  ...STATE,
  agent: shape.agent,
  thread: shape.thread,
  source: shape.source,
  supersedes: shape.supersedes,
  contradicts: shape.contradicts,
  origin: OriginDraft,
});

export const Found = z.strictObject({
  entry: MemoryEntry,
  score: z.number(),
  semantic: z.strictObject({ rank: z.int(), similarity: z.number() }).nullable(),
  text: z
    .strictObject({
      rank: z.int(),
      score: z.number(),
      coverage: z.number(),
      counted: z.boolean(),
      words: z.array(z.string()),
    })
    .nullable(),
});
export type Found = z.infer<typeof Found>;

export const AccessRecord = z.strictObject({
  number: z.int(),
  at: Time,
  by: z.string(),
  action: z.string(),
  memories: z.array(z.string()),
});

/** What an erasure came to; the API signs it. */
export const Erased = z.strictObject({
  erasure: z.string(),
  statement: z.string(),
  sha256: Sha256,
  isLogged: z.boolean(),
});
export type Erased = z.infer<typeof Erased>;

/** What became of the answer of a job that was to be remembered. */
export const TakenIn = z.strictObject({
  job: JobId,
  refusal: z.string().nullable(),
  memories: z.array(z.string()),
  dropped: z.int(),
});
export type TakenIn = z.infer<typeof TakenIn>;

const KeptReceipt = z.strictObject({ job: JobId, sha256: Sha256, text: z.string().max(MAX_RECEIPT_BYTES) });

/** What the role `memory` is asked, and what it answers. */
export const MEMORY_CALLS = {
  add: {
    ask: ownedBy({ drafts: z.array(Draft).min(1).max(MAX_AT_ONCE) }),
    answer: z.array(z.strictObject({ outcome: z.enum(['created', 'merged', 'known']), entry: MemoryEntry })),
  },
  /** The owner's place, made where there is none; throws where one of these memories is not there. */
  place: { ask: ownedBy({ names: z.array(MemoryId).max(256) }), answer: z.strictObject({ place: z.string() }) },
  /** Takes the answer of a job in, once; null where the owner is there no more. */
  takeIn: {
    ask: z.strictObject({
      tenant: z.string(),
      place: z.string(),
      job: JobId,
      sources: z.array(z.string()).nullable(),
      /** Why nothing of the answer is remembered. */
      refusal: z.string().max(64).nullable(),
      dropped: z.int().min(0),
      receipt: z.string().max(MAX_RECEIPT_BYTES),
      drafts: z.array(Draft).max(MAX_AT_ONCE),
    }),
    answer: TakenIn.nullable(),
  },
  /** Notes a job that has ended and holds these memories; `gone` where it is to be erased now. */
  noteHolder: {
    ask: z.strictObject({
      tenant: z.string(),
      place: z.string(),
      job: JobId,
      memories: z.array(MemoryId).max(MAX_AT_ONCE),
      /** When it is erased by itself. */
      until_ms: z.int(),
    }),
    answer: z.strictObject({ gone: z.boolean() }),
  },
  dueHolders: { ask: z.strictObject({ tenant: z.string() }), answer: z.array(z.string()) },
  forgetHolders: { ask: z.strictObject({ tenant: z.string(), jobs: z.array(z.string()) }), answer: z.null() },
  takenIn: { ask: z.strictObject({ tenant: z.string(), job: JobId }), answer: TakenIn.nullable() },
  receipts: { ask: ownedBy({ id: MemoryId }), answer: z.array(KeptReceipt) },
  /** The receipts that go into an export, in the order of their digests. */
  receiptPage: {
    ask: ownedBy({ after: Sha256.optional(), limit: z.int().min(1).max(MAX_RECEIPTS_AT_ONCE) }),
    answer: z.array(KeptReceipt),
  },
  get: { ask: ownedBy({ id: MemoryId, action: z.enum(['get', 'history']) }), answer: MemoryEntry },
  /** Throws `memory_not_found` or `erased` where it is not there; it is no read. */
  require: { ask: ownedBy({ id: MemoryId }), answer: z.null() },
  list: {
    ask: ownedBy({ filter: MemoryFilter, limit: z.int().min(1).max(MAX_AT_ONCE), before: MemoryId.optional() }),
    answer: z.strictObject({ entries: z.array(MemoryEntry), more: z.boolean() }),
  },
  profile: {
    ask: ownedBy({
      filter: MemoryFilter,
      lines: z.int().min(1).max(MAX_LINES),
      ofEach: z.int().min(1).max(MAX_LINES_OF_EACH),
    }),
    answer: Profile,
  },
  search: {
    ask: ownedBy({
      query: z.string().min(1).max(16_384),
      mode: z.enum(SEARCH_MODES),
      limit: z.int().min(1).max(MAX_RESULTS),
      filter: MemoryFilter,
      action: z.enum(['search', 'chat']).optional(),
    }),
    answer: z.array(Found),
  },
  correct: {
    ask: ownedBy({ id: MemoryId, change: z.strictObject(STATE).partial(), origin: OriginDraft }),
    answer: MemoryEntry,
  },
  erase: { ask: ownedBy({ ids: Ids }), answer: z.array(Erased) },
  eraseOwner: { ask: ownedBy({}), answer: Erased },
  unlogged: { ask: z.strictObject({ tenant: z.string() }), answer: z.array(Erased) },
  logged: { ask: z.strictObject({ tenant: z.string(), erasures: z.array(z.string()) }), answer: z.null() },
  accesses: {
    ask: ownedBy({ limit: z.int().min(1).max(MAX_AT_ONCE), before: z.int().optional() }),
    answer: z.array(AccessRecord),
  },
  owners: { ask: z.strictObject({ tenant: z.string() }), answer: z.array(z.string()) },
  /** From here on no owner of this tenant is made, so that those that are there are the last. */
  closeTenant: { ask: z.strictObject({ tenant: z.string() }), answer: z.null() },
  entryPage: {
    ask: ownedBy({ after: MemoryId.optional(), limit: z.int().min(1).max(MAX_AT_ONCE) }),
    answer: z.array(MemoryEntry),
  },
  tombstonePage: {
    ask: ownedBy({ after: MemoryId.optional(), limit: z.int().min(1).max(MAX_AT_ONCE) }),
    answer: z.array(MemoryTombstone),
  },
  putEntries: {
    ask: ownedBy({ entries: z.array(MemoryEntry).max(MAX_AT_ONCE), dry: z.boolean().optional() }),
    answer: z.array(z.enum(['kept', 'same', 'conflict', 'buried'])),
  },
  buryMemories: {
    ask: ownedBy({ tombstones: z.array(MemoryTombstone).max(MAX_AT_ONCE), dry: z.boolean().optional() }),
    answer: z.array(z.enum(['kept', 'same', 'conflict'])),
  },
  ...HISTORY_CALLS,
} as const satisfies Record<string, { ask: z.ZodType; answer: z.ZodType }>;

export type CallName = keyof typeof MEMORY_CALLS;
export type Ask<Name extends CallName> = z.infer<(typeof MEMORY_CALLS)[Name]['ask']>;
export type Answer<Name extends CallName> = z.infer<(typeof MEMORY_CALLS)[Name]['answer']>;
