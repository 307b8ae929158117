import { z } from 'zod';
import { ERROR_CATALOG, type ErrorCode } from '../../ground/errors/catalog.ts';

const CODES = Object.keys(ERROR_CATALOG).filter((code): code is ErrorCode => code in ERROR_CATALOG);

/** An error as every route but OpenAI's answers it: a problem document (RFC 9457) with a stable code. */
export const Problem = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.enum(CODES),
  detail: z.string(),
  hint: z.string().optional(),
});
export type Problem = z.infer<typeof Problem>;
