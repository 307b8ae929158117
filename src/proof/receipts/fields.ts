import { z } from 'zod';

/** The fields that statements are made of; `statements.ts` puts them together. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
export const Digest = z.strictObject({ sha256: Sha256 });
export const Time = z.iso.datetime({ precision: 3 });
export const Count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
export const Epoch = z.number().int().min(1).max(1_000);
export const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/);

/** `job_`, four letters for the pool, and a ULID in lower case; `core/jobs/job-id.ts` makes them. */
export const JOB_ID = /^job_[0-9a-hjkmnp-tv-z]{30}$/;
export const JobId = z.string().regex(JOB_ID);
export const WorkerId = z.string().regex(/^w-[0-9a-f]{32}$/);

export const TASKS = ['completion', 'chat', 'embedding'] as const;
export const Task = z.enum(TASKS);
export type Task = z.infer<typeof Task>;

export const Usage = z.strictObject({ inputTokens: Count, outputTokens: Count });
export type Usage = z.infer<typeof Usage>;

export const FINISH_REASONS = ['stop', 'length', 'tool_calls', 'content_filter', 'none'] as const;
export type FinishReason = (typeof FINISH_REASONS)[number];

export const WorkerIdentity = z.strictObject({ id: WorkerId, publicKey: z.string().max(64) });

/** What the worker says in its evidence of every job. A promise can add a field. */
export const EVIDENCE_FIELDS = {
  job: JobId,
  ticket: Digest,
  epoch: Epoch,
  worker: WorkerIdentity,
  model: z.strictObject({ name: Name, sha256: Sha256, measured: z.boolean() }),
  engine: z.strictObject({ name: Name, version: z.string().max(64), sha256: Sha256 }),
  outputBytes: Count,
  usage: Usage,
  finishReason: z.enum(FINISH_REASONS),
  startedAt: Time,
  finishedAt: Time,
};

export const subject = <Of extends string>(name: Of) => z.strictObject({ name: z.literal(name), digest: Digest });

/** Ids of memories are the platform's (`mem_` and a ULID) or those that an import brought along. */
export const MemoryId = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,127}$/);
