import { z } from 'zod';

/** The one purpose that an upload may have. */
export const UPLOAD_PURPOSE = 'batch';

/** The fields of an upload. They are read one by one while they come; `purpose` stands before `file`. */
export const UploadFile = z.object({
  purpose: z.literal(UPLOAD_PURPOSE),
  file: z.file().describe('lines of JSON (JSONL), one request each'),
});
export const ListFiles = z.strictObject({
  after: z.string().max(64).optional().describe('the id of a file: those after it are listed'),
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000).describe('the most files of a page'),
  order: z.literal('desc').optional().describe('newest first, as without it'),
  purpose: z.string().max(64).optional().describe('only files of this purpose'),
});

export const DeletedFile = z.strictObject({ id: z.string(), object: z.literal('file'), deleted: z.literal(true) });
export type DeletedFile = z.infer<typeof DeletedFile>;
