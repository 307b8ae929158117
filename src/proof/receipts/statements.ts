import { z } from 'zod';

/**
 * The three documents of a job as in-toto Statements v1. `docs/receipt-format.md` specifies them; the schemas here
 * are that specification in code. Members are strict: what a verifier does not know, it refuses.
 */
export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const TICKET_TYPE = 'urn:countersign:ticket:v1';
export const EVIDENCE_TYPE = 'urn:countersign:evidence:v1';
export const RELEASE_TYPE = 'urn:countersign:release:v1';
export const VERDICT_TYPE = 'https://in-toto.io/attestation/svr/v0.2';

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Digest = z.strictObject({ sha256: Sha256 });
const Time = z.iso.datetime({ precision: 3 });
const Count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
export const JobId = z.string().regex(/^job_[0-9a-hjkmnp-tv-z]{26}$/);
const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/);
export const WorkerId = z.string().regex(/^w-[0-9a-f]{32}$/);
const subject = (name: string) => z.strictObject({ name: z.literal(name), digest: Digest });

/** Every parameter that can change the answer. All are always there, so that none is left to a default of the worker. */
export const Params = z.strictObject({
  max_tokens: z.number().int().min(1).max(131_072),
  temperature: z.number().min(0).max(2),
  top_p: z.number().gt(0).max(1),
  seed: z.number().int().min(0).max(4_294_967_295),
  stop: z.array(z.string().min(1).max(64)).max(4),
});
export type Params = z.infer<typeof Params>;

export const TASKS = ['completion', 'chat', 'embedding'] as const;
export const Task = z.enum(TASKS);
export type Task = z.infer<typeof Task>;

export const Policy = z.strictObject({
  /** The share of jobs, drawn by the attestor in secret, whose answer it computes again. */
  recompute: z.number().min(0).max(1),
  /** The share of jobs, drawn likewise, whose tokens it replays on its own copy of the model. */
  tokens: z.number().gt(0).max(1).optional(),
  /** How many workers of different operators must give the same answer, and how many are asked at most. */
  quorum: z
    .strictObject({ of: z.number().int().min(2).max(5), agree: z.number().int().min(2).max(5) })
    .refine(({ of, agree }) => agree <= of && agree * 2 > of, { message: 'agree must be more than half of of' })
    .optional(),
  /** Whether the worker's machine must have proven itself by hardware evidence. */
  tee: z.literal(true).optional(),
});
export type Policy = z.infer<typeof Policy>;

const Amount = z.number().int().min(0).max(1_000_000_000_000_000);
/** What the job costs, in millionths of the currency; `docs/receipt-format.md` has the formula. */
export const Price = z.strictObject({
  table: z.strictObject({ id: z.string().max(64), sha256: Sha256 }),
  currency: z.string().regex(/^[A-Z]{3,8}$/),
  /** For a million tokens. */
  input: Amount,
  output: Amount,
  /** For a second of the worker. */
  second: Amount,
  /** For the methods that the policy promises. */
  attestation: Amount,
  /** The most that it can come to. */
  hold: Amount,
  /** Where it comes to that whatever is used. */
  fixed: z.literal(true).optional(),
});
export type Price = z.infer<typeof Price>;

export const Ticket = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([subject('input')]),
  predicateType: z.literal(TICKET_TYPE),
  predicate: z.strictObject({
    job: JobId,
    tenant: Name,
    pool: Name,
    model: z.strictObject({ name: Name, sha256: Sha256 }),
    task: Task,
    params: Params,
    inputBytes: Count,
    policy: Policy,
    attempts: z.number().int().min(1).max(10),
    price: Price.optional(),
    createdAt: Time,
    deadline: Time,
    nonce: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  }),
});
export type Ticket = z.infer<typeof Ticket>;

export const Usage = z.strictObject({ inputTokens: Count, outputTokens: Count });
export type Usage = z.infer<typeof Usage>;

export const FINISH_REASONS = ['stop', 'length', 'tool_calls', 'none'] as const;

const WorkerIdentity = z.strictObject({ id: WorkerId, publicKey: z.string().max(64) });

export const Evidence = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([subject('output')]),
  predicateType: z.literal(EVIDENCE_TYPE),
  predicate: z.strictObject({
    job: JobId,
    ticket: Digest,
    epoch: z.number().int().min(1).max(1_000),
    worker: WorkerIdentity,
    model: z.strictObject({ name: Name, sha256: Sha256, measured: z.boolean() }),
    engine: z.strictObject({ name: Name, version: z.string().max(64), sha256: Sha256 }),
    outputBytes: Count,
    usage: Usage,
    finishReason: z.enum(FINISH_REASONS),
    /** The token ids of the answer, 32 bits each, little-endian; where the ticket's policy has them replayed. */
    tokens: Digest.optional(),
    startedAt: Time,
    finishedAt: Time,
  }),
});
export type Evidence = z.infer<typeof Evidence>;

/** Why a worker gave a job back. */
export const RELEASE_CODES = [
  'engine_error',
  'engine_refused',
  'engine_overloaded',
  'drained',
  'cancelled',
  'deadline',
  'output_too_large',
  'input_missing',
] as const;
export const ReleaseCode = z.enum(RELEASE_CODES);
export type ReleaseCode = z.infer<typeof ReleaseCode>;

/** A worker's signed word that it has stopped and computed no answer. */
export const Release = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([subject('ticket')]),
  predicateType: z.literal(RELEASE_TYPE),
  predicate: z.strictObject({
    job: JobId,
    epoch: z.number().int().min(1).max(1_000),
    worker: WorkerIdentity,
    code: ReleaseCode,
    detail: z.string().max(300),
    at: Time,
  }),
});
export type Release = z.infer<typeof Release>;

/** What an attestor can have checked; each property names exactly one thing. */
export const PROPERTIES = [
  'TICKET_SIGNATURE',
  'WORKER_ENROLLED',
  'WORKER_SIGNATURE',
  'TICKET_MATCHED',
  'EPOCH_CURRENT',
  'MODEL_DIGEST_MATCHED',
  'OUTPUT_DIGEST_MATCHED',
  'USAGE_WITHIN_BOUNDS',
  'USAGE_RECOUNTED',
  'USAGE_RETOKENIZED',
  'OUTPUT_RECOMPUTED_EXACT',
  'OUTPUT_RECOMPUTED_WITHIN_TOLERANCE',
  'TOKENS_REPLAYED',
  'QUORUM_AGREED',
  'HARDWARE_ATTESTED',
] as const;
/** What every confirmation says, whatever its policy: the method `binding`. */
export const BINDING_PROPERTIES = PROPERTIES.slice(0, 8);

export const Property = z.enum(PROPERTIES);
export type Property = z.infer<typeof Property>;

export const NOT_CHECKED = ['OUTPUT_NOT_RECOMPUTED', 'HARDWARE_NOT_ATTESTED', 'WEIGHTS_DECLARED_NOT_MEASURED'] as const;

/** What was found of a worker's machine, by the makers of its parts. */
export const HARDWARE_PROPERTIES = [
  'TEE_TDX_UP_TO_DATE',
  'TEE_TDX_ADVISORIES_ACCEPTED',
  'TEE_SEV_SNP_OK',
  'TEE_NITRO_OK',
  'GPU_SPDM_OK',
  'GPU_NRAS_OK',
] as const;
export type HardwareProperty = (typeof HARDWARE_PROPERTIES)[number];

/** Known attacks on a platform that was accepted, for the receipt's reader. */
export const HARDWARE_WARNINGS = ['SNP_MILAN_KEYS_EXTRACTABLE', 'MEMORY_BUS_NOT_TRUSTED'] as const;
export type HardwareWarning = (typeof HARDWARE_WARNINGS)[number];

/** Evidence that was verified, and by which policy it was accepted. */
export const Hardware = z.strictObject({
  evidence: Digest,
  policy: Digest,
  verifiedAt: Time,
  properties: z.array(z.enum(HARDWARE_PROPERTIES)).min(1).max(HARDWARE_PROPERTIES.length),
  warnings: z.array(z.enum(HARDWARE_WARNINGS)).max(HARDWARE_WARNINGS.length),
});
export type Hardware = z.infer<typeof Hardware>;

export const Verdict = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([subject('evidence'), subject('output')]),
  predicateType: z.literal(VERDICT_TYPE),
  predicate: z.strictObject({
    verifier: z.strictObject({
      id: z.string().max(200),
      policies: z.tuple([z.strictObject({ uri: z.literal('urn:countersign:policy:v1'), digest: Digest })]),
    }),
    timeCreated: Time,
    properties: z.array(Property).max(PROPERTIES.length),
    job: JobId,
    epoch: z.number().int().min(1).max(1_000),
    ticket: Digest,
    decision: z.enum(['confirmed', 'refuted']),
    recompute: z.strictObject({
      promisedShare: z.number().min(0).max(1),
      drawn: z.boolean(),
      maxAbsDiff: z.number().min(0).optional(),
    }),
    /** There where the policy promises it; the measurements where the job was drawn. */
    tokens: z
      .strictObject({
        promisedShare: z.number().min(0).max(1),
        drawn: z.boolean(),
        tokens: Count.optional(),
        margin: z.number().min(0).optional(),
        limit: z.number().min(0).optional(),
        calibration: Digest.optional(),
      })
      .optional(),
    /** There where the attestor's own tokenizer counted what the job is charged for. */
    usage: Usage.optional(),
    /** There where the policy wants one: the attempts whose answers are this one, and who made them. */
    quorum: z
      .strictObject({
        of: Count,
        agree: Count,
        votes: z
          .array(
            z.strictObject({
              epoch: z.number().int().min(1).max(1_000),
              worker: WorkerId,
              operator: Name,
              evidence: Digest,
            }),
          )
          .max(5),
      })
      .optional(),
    /** There where the worker's machine had proven itself when the verdict was made. */
    hardware: Hardware.optional(),
    notChecked: z.array(z.enum(NOT_CHECKED)).max(NOT_CHECKED.length),
    refusals: z.array(z.string().max(80)).max(20),
  }),
});
export type Verdict = z.infer<typeof Verdict>;

/** The bytes of a statement: compact JSON in the order in which it was built. */
export function statementBytes(statement: Ticket | Evidence | Verdict | Release): Buffer {
  return Buffer.from(JSON.stringify(statement));
}
