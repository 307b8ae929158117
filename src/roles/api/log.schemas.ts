import { z } from 'zod';

/** The answer of `GET /log/documents`. */
export const LogDocuments = z.strictObject({
  documents: z
    .array(
      z.strictObject({
        kind: z.string(),
        sha256: z.string(),
        keyid: z.string(),
        index: z.int(),
        salt: z.string(),
      }),
    )
    .describe('entries of the log that are no verdicts'),
  draws: z.record(z.string(), z.string()).describe('secrets of draws that are over, in hexadecimal, by day'),
});
export type LogDocuments = z.infer<typeof LogDocuments>;
