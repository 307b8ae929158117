import { z } from 'zod';
import { FormerState, MEMORY_TYPES, MemoryEntry } from '../../proof/memory/entry.ts';
import { JOB_STATES } from '../../proof/contract/job-states.ts';
import { JobId, MemoryId, Sha256, Time } from '../../proof/receipts/fields.ts';
import { ErasureEnvelope, ErasureStatement } from '../../surfaces/memory/erasure-receipts.ts';
import { MAX_AT_ONCE, MAX_RESULTS, OwnerName } from '../../surfaces/memory/memory-calls.ts';
import { MemoryFilter } from '../../surfaces/memory/memory-filter.ts';
import { MAX_LINES, MAX_LINES_OF_EACH, Profile } from '../../surfaces/memory/profile.ts';
import { SEARCH_MODES } from '../../surfaces/memory/ranking.ts';

const { salt: _salt, history: _history, ...ENTRY } = MemoryEntry.shape;
/** Values of JSON, in words that a description of the API has no loops for. */
const Shown = z.record(z.string(), z.unknown());
const FIELDS = { ...ENTRY, metadata: Shown };
const { type, text, category, valid_from, valid_to, supersedes, contradicts, agent, thread } = ENTRY;
const { from, reference } = ENTRY.origins.element.shape;
const metadata = z.record(z.string().max(256), z.unknown()).pipe(ENTRY.metadata);

/** Who said it. A user is never what a text says, but what the app that holds the key vouches for. */
const SAID_BY = { user: 'user', model: 'model', tool: 'tool' } as const;
const SaidBy = z
  .enum(SAID_BY)
  .default('user')
  .describe('who said it, which decides how far it is trusted: the text itself never does');
const Message = z.strictObject({
  role: z.enum(['user', 'assistant', 'tool']).describe('`user`, `assistant` (a model) or `tool`: who said it'),
  content: text,
});

export const AddMemories = z
  .strictObject({
    owner: OwnerName.describe('whose memory it is: a name of yours for a person'),
    text: text.optional(),
    messages: z.array(Message).min(1).max(100).optional().describe('in place of a text'),
    infer: z
      .boolean()
      .default(true)
      .describe('a model finds the memories in the words, as a job of yours; `false` keeps each text as it is'),
    model: z
      .string()
      .min(1)
      .max(500)
      .optional()
      .describe('the model that does, from `GET /v1/models`; by default the first one that chats'),
    type: z
      .enum(MEMORY_TYPES)
      .optional()
      .describe('`semantic`: what is so; `episodic`: what happened, as messages are'),
    category: category.default(null),
    agent: agent.default(null),
    thread: thread.default(null),
    valid_from: valid_from.default(null),
    valid_to: valid_to.default(null),
    metadata: metadata.default({}),
    supersedes: supersedes
      .default([])
      .describe('memories that this one takes the place of; they stay, and are not found'),
    contradicts: contradicts.default([]).describe('memories that say otherwise; both are found'),
    said_by: SaidBy,
    from: from.default(null).describe('the name of the model or the tool'),
    reference: reference.default(null).describe('where it came from, in words of yours'),
    rests_on: z
      .array(MemoryId)
      .max(256)
      .default([])
      .describe('memories that it was derived from: its trust is the least of theirs'),
  })
  .refine((body) => (body.text === undefined) !== (body.messages === undefined), {
    message: 'give either text or messages',
  })
  .refine((body) => body.messages === undefined || body.said_by === 'user', {
    message: 'each message says by its role who said it',
    path: ['said_by'],
  })
  .refine((body) => body.infer || body.model === undefined, {
    message: 'without infer, no model is asked',
    path: ['model'],
  })
  .refine((body) => !body.infer || (body.supersedes.length === 0 && body.contradicts.length === 0), {
    message: 'what a model makes takes the place of nothing: name other memories with infer: false',
    path: ['supersedes'],
  })
  .refine((body) => !body.infer || body.from === null, {
    message: 'the platform names the model itself',
    path: ['from'],
  });
export type AddMemories = z.infer<typeof AddMemories>;

export const ChangeMemory = z.strictObject({
  text: text.optional(),
  type: type.optional(),
  category: category.optional(),
  valid_from: valid_from.optional(),
  valid_to: valid_to.optional(),
  metadata: metadata.optional(),
  said_by: SaidBy,
  from: from.default(null),
});

/** A memory as it is shown; its salt never leaves but in an export, and its history is a route of its own. */
export const MemoryDocument = z.strictObject(FIELDS);
export type MemoryDocument = z.infer<typeof MemoryDocument>;

export const AddedMemories = z.strictObject({
  memories: z.array(
    z.strictObject({
      outcome: z
        .enum(['created', 'merged', 'known'])
        .describe('`merged`: it was known and has one more origin; `known`: this request was carried out before'),
      memory: MemoryDocument,
    }),
  ),
});
export type AddedMemories = z.infer<typeof AddedMemories>;

/** A job that finds memories in what was said, and what became of its answer. */
export const ExtractionDocument = z.strictObject({
  job: JobId,
  state: z.enum(JOB_STATES).describe('of the job'),
  outcome: z
    .enum(['open', 'kept', 'refused', 'none'])
    .describe(
      '`open`: it is not over; `kept`: the memories are there; `refused`: nothing of the answer is kept; `none`: there was no answer, or the owner or the job was erased',
    ),
  reason: z.string().nullable().describe('why it was refused: `extraction_not_usable`, or the code of an error'),
  memories: z.array(z.string()).describe('the ids of what was found, also where it was known before'),
  dropped: z.int().describe('how many the model named that were not taken: too long, too many, not printable'),
});
export type ExtractionDocument = z.infer<typeof ExtractionDocument>;

/** Receipts outlive their jobs, which are erased when their answers are taken in. */
export const MemoryReceipts = z.strictObject({
  receipts: z.array(
    z.strictObject({
      job: JobId,
      sha256: Sha256.describe('the digest of the file, as the origin of the memory names it'),
      receipt: z.string().describe('the file, for `countersign verify`'),
    }),
  ),
});
export type MemoryReceipts = z.infer<typeof MemoryReceipts>;

const Limit = (most: number, usual: number) => z.coerce.number().int().min(1).max(most).default(usual);
const { superseded: _superseded, ...FILTERS } = MemoryFilter.shape;

export const ListMemories = z.strictObject({
  owner: OwnerName.describe('whose memories'),
  ...FILTERS,
  superseded: z.enum(['true', 'false']).default('false').describe('whether those are listed that another supersedes'),
  limit: Limit(MAX_AT_ONCE, 100).describe('the most memories of a page'),
  before: MemoryId.optional().describe('the id of the last memory of the page before'),
});

export const MemoryList = z.strictObject({
  memories: z.array(MemoryDocument),
  next: z.string().nullable().describe('`before` of the next page; null where this is the last'),
});
export type MemoryList = z.infer<typeof MemoryList>;

export const ReadProfile = z.strictObject({
  limit: Limit(MAX_LINES, 50).describe('the most lines'),
  of_each: Limit(MAX_LINES_OF_EACH, 10).describe('the most lines of one category and type'),
  category: FILTERS.category,
  agent: FILTERS.agent,
  trust: FILTERS.trust,
  valid_at: FILTERS.valid_at.describe('what held at this time; now by default'),
});

/** Made anew for each answer, and kept nowhere. */
export const ProfileDocument = Profile;
export type ProfileDocument = z.infer<typeof ProfileDocument>;

export const SearchMemories = z.strictObject({
  owner: OwnerName,
  query: z.string().min(1).max(16_384),
  mode: z
    .enum(SEARCH_MODES)
    .default('hybrid')
    .describe(
      '`semantic` compares meaning, `text` words, `hybrid` both: words count where they are enough of the query',
    ),
  limit: z.int().min(1).max(MAX_RESULTS).default(10),
  filter: MemoryFilter.prefault({}).describe('applied before anything is ranked'),
});

export const FoundMemories = z.strictObject({
  results: z.array(
    z.strictObject({
      memory: MemoryDocument,
      score: z.number().describe('comparable within this answer only'),
      semantic: z
        .strictObject({ rank: z.int(), similarity: z.number() })
        .nullable()
        .describe('its place by meaning, and the cosine; null where it is not among the first'),
      text: z
        .strictObject({
          rank: z.int(),
          score: z.number(),
          coverage: z.number().describe("the share of the query's weight that its words have"),
          counted: z.boolean().describe('whether that is enough to count in a hybrid search'),
          words: z.array(z.string()).describe('the words of the query that it has, as stems'),
        })
        .nullable()
        .describe('its place by words; null where it shares none'),
    }),
  ),
});
export type FoundMemories = z.infer<typeof FoundMemories>;

export const OfOwner = z.strictObject({
  owner: OwnerName.optional().describe('needed only where several owners have a memory of this id'),
});

const STATE = { ...FormerState.shape, metadata: Shown };

export const MemoryHistory = z.strictObject({
  id: MemoryId,
  versions: z.array(z.strictObject(STATE)).describe('oldest first, the present one last'),
});
export type MemoryHistory = z.infer<typeof MemoryHistory>;

/** A deletion receipt: it says what was done, and what that does not prove. */
export const ErasureDocument = z.strictObject({
  erasure: z.string(),
  sha256: Sha256.describe('the digest of the statement, which stands in the audit log'),
  statement: ErasureStatement,
  envelope: ErasureEnvelope.describe('the statement, signed with the key of tickets (DSSE)'),
});
export type ErasureDocument = z.infer<typeof ErasureDocument>;

export const EraseMemories = z.strictObject({
  owner: OwnerName.optional(),
  ids: z.array(MemoryId).min(1).max(MAX_AT_ONCE),
});
export const ErasureList = z.strictObject({ erasures: z.array(ErasureDocument) });
export type ErasureList = z.infer<typeof ErasureList>;

export const ListReaders = z.strictObject({
  limit: Limit(MAX_AT_ONCE, 100).describe('the most reads of a page'),
  before: z.coerce.number().int().min(1).optional().describe('the number of the last read of the page before'),
});
export const ReaderList = z.strictObject({
  reads: z.array(
    z.strictObject({
      number: z.int(),
      at: Time,
      by: z.string().describe('the id of the API key'),
      action: z
        .string()
        .describe('`get`, `history`, `receipts`, `list`, `search`, `chat`, `profile`, `export` or `correct`'),
      memories: z.array(z.string()).describe('the ids of the memories that were answered'),
    }),
  ),
  next: z.int().nullable(),
});
export type ReaderList = z.infer<typeof ReaderList>;

export const OwnerList = z.strictObject({ owners: z.array(z.string()).describe('in the order in which they came') });
export type OwnerList = z.infer<typeof OwnerList>;

export const ExportMemories = z.strictObject({
  owner: OwnerName.describe('whose memories'),
  from_byte: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('goes on with a bundle that was cut off: so many bytes of it are left out'),
});

/** Most things of one request to import. */
export const MAX_IMPORTED = 200;
const Imported = z.array(z.record(z.string(), z.unknown())).max(MAX_IMPORTED).default([]);

export const ImportMemories = z.strictObject({
  owner: OwnerName.describe('whose memories they become'),
  dry_run: z.boolean().default(false).describe('says what would become of each, and changes nothing'),
  entries: Imported.describe('entries of a memory bundle; they keep ids, histories and origins'),
  tombstones: Imported.describe('tombstones of a memory bundle'),
  memories: Imported.describe('what other products know; it becomes known here as imported'),
});

const Refused = { why: z.string().optional().describe('why it is refused') };
export const ImportedMemories = z.strictObject({
  entries: z.array(
    z.strictObject({
      id: z.string().nullable(),
      outcome: z.enum(['kept', 'same', 'conflict', 'buried', 'refused']),
      ...Refused,
    }),
  ),
  tombstones: z.array(
    z.strictObject({ id: z.string().nullable(), outcome: z.enum(['kept', 'same', 'conflict', 'refused']), ...Refused }),
  ),
  memories: z.array(
    z.strictObject({
      id: z.string().nullable(),
      outcome: z.enum(['created', 'merged', 'known', 'possible', 'refused']),
      ...Refused,
    }),
  ),
});
export type ImportedMemories = z.infer<typeof ImportedMemories>;
