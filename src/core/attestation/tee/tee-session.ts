import { z } from 'zod';
import { sha256Hex } from '../../../ground/blobs/sha256.ts';
import { canonicalJson } from '../../../ground/json/canonical-json.ts';
import { TeeEvidence, type TeeSubject } from './tee-evidence.ts';

const Models = z
  .array(z.strictObject({ name: z.string().max(63), sha256: z.string().regex(/^[0-9a-f]{64}$/) }))
  .min(1)
  .max(200);
type Models = z.infer<typeof Models>;

/**
 * What a worker says of its machine now: evidence that binds its key, a challenge of the attestors and the
 * models that it runs.
 */
export const TeeSession = z.strictObject({
  version: z.literal(1),
  nonce: z.string().regex(/^[0-9a-f]{64}$/),
  models: Models,
  evidence: TeeEvidence,
});
export type TeeSession = z.infer<typeof TeeSession>;

/** The type of a session's signed bytes: a worker signs what it says of its machine. */
export const SESSION_TYPE = 'application/vnd.countersign.hardware.v1+json';

/** A challenge is handed out this often, ms. */
export const CHALLENGE_EVERY_MS = 600_000;
/** NRAS' tokens are the largest part; they are stored as base64. */
export const MAX_SESSION_BYTES = 1_100_000;

/** What the evidence of a session must be about. */
export function sessionSubject(
  worker: string,
  publicKey: Buffer,
  { nonce, models }: Pick<TeeSession, 'nonce' | 'models'>,
): TeeSubject {
  const sorted = models.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    worker,
    publicKey,
    tlsSpkiSha256: Buffer.alloc(0),
    nonce: Buffer.from(nonce, 'hex'),
    modelManifestSha256: Buffer.from(sha256Hex(canonicalJson(sorted)), 'hex'),
  };
}
