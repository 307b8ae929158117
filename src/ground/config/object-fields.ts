import { z } from 'zod';
import { isS3, parseS3Place } from './s3-place.ts';

/** A folder, or a place in a bucket of S3. */
export const storagePlace = z
  .string()
  .min(1)
  .refine((text) => !isS3(text) || parseS3Place(text) !== undefined, 'must be a folder or `s3://bucket/prefix`');

/** Variables of every role that may keep its files in S3. */
export const objectFields = {
  COUNTERSIGN_S3_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .refine((text) => new URL(text).username === '' && new URL(text).password === '', 'must hold no password')
    .optional()
    .describe(
      'address of the object storage, such as `https://s3.eu-central-1.amazonaws.com`, which has its buckets below it; by default that of AWS in the region',
    ),
  COUNTERSIGN_S3_REGION: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/)
    .default('us-east-1')
    .describe('region of the buckets, as requests are signed for it'),
  COUNTERSIGN_S3_KEY_FILE: z
    .string()
    .min(1)
    .optional()
    .describe(
      "file with this role's access key (mode 600): its id, its secret and, if there is one, a session token, a line for each; read again where the storage refuses it",
    ),
} as const;
export type ObjectConfig = z.infer<z.ZodObject<typeof objectFields>>;
