import { z } from 'zod';

/** The one purpose that an upload may have. */
export const UPLOAD_PURPOSE = 'batch';

/** An hour to thirty days, as OpenAI has it. */
const ExpirySeconds = z.coerce.number().int().min(3_600).max(2_592_000);
/** When an upload is to expire, by its fields; both or neither. */
export const ExpiresAfter = z.union([
  z.strictObject({ anchor: z.literal('created_at'), seconds: ExpirySeconds }),
  z.strictObject({}),
]);

/** The fields of an upload. They are read one by one while they come; `purpose` stands before `file`. */
export const UploadFile = z.object({
  purpose: z.literal(UPLOAD_PURPOSE),
  'expires_after[anchor]': z.literal('created_at').optional(),
  'expires_after[seconds]': ExpirySeconds.optional().describe('from its upload; 30 days by default'),
  file: z.file().describe('lines of JSON (JSONL), one request each'),
});
export const ListFiles = z.strictObject({
  after: z.string().max(64).optional().describe('the id of a file: those after it are listed'),
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000).describe('the most files of a page'),
  order: z.enum(['asc', 'desc']).default('desc').describe('`desc`: newest first'),
  purpose: z.string().max(64).optional().describe('only files of this purpose'),
});

export const DeletedFile = z.strictObject({ id: z.string(), object: z.literal('file'), deleted: z.literal(true) });
export type DeletedFile = z.infer<typeof DeletedFile>;
