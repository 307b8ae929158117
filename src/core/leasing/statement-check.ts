import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { workerIdOf, type PublicKey } from '../../ground/keys/signing-key.ts';
import { INLINE_BYTES } from '../../proof/tasks/task-input.ts';
import { decodeStored, verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { Evidence, Release } from '../../proof/receipts/statements.ts';

/** What is committed of a lease, as it came from the worker. */
interface Committed {
  readonly job: string;
  readonly epoch: number;
  readonly statement: string;
}

/**
 * Reads signed evidence, and the output and token ids beside it, before any of it is stored. What it cannot
 * judge is left to the attestor, who looks at all of it again. Throws CodedError `statement_invalid`.
 */
export function checkedEvidence(
  key: PublicKey,
  committed: Committed & { readonly output: string; readonly tokens: string },
): SignedPayload {
  const { signed, parsed } = open(Evidence, key, committed);
  const { subject, predicate } = parsed;
  const { output, tokens } = committed;
  const bytes = Buffer.byteLength(output);
  if (bytes > INLINE_BYTES || tokens.length > INLINE_BYTES)
    throw refused(`What stands beside the evidence is longer than ${INLINE_BYTES} bytes: it is uploaded.`);
  if (output !== '' && (sha256Hex(output) !== subject[0].digest.sha256 || bytes !== predicate.outputBytes))
    throw refused('The output is not the one that the evidence names.');
  if (tokens !== '' && sha256Hex(Buffer.from(tokens, 'base64')) !== predicate.tokens?.sha256)
    throw refused('The token ids are not those that the evidence names.');
  return signed;
}

/** Reads a signed release. Throws CodedError `statement_invalid`. */
export function checkedRelease(key: PublicKey, committed: Committed): SignedPayload {
  return open(Release, key, committed).signed;
}

const About = z.object({
  predicate: z.object({ job: z.string(), epoch: z.number(), worker: z.object({ id: z.string() }) }),
});

function open<Schema extends z.ZodType>(
  schema: Schema,
  key: PublicKey,
  { job, epoch, statement }: Committed,
): { signed: SignedPayload; parsed: z.infer<Schema> } {
  const signed = decodeStored(Buffer.from(statement));
  if (signed === undefined || !verifyPayload(key, signed))
    throw refused('The statement is not signed by the key of this session.');
  const parsed = schema.safeParse(jsonIn(signed));
  if (!parsed.success) throw refused('The statement is malformed.');
  const about = About.parse(parsed.data).predicate;
  if (about.job !== job || about.epoch !== epoch || about.worker.id !== workerIdOf(key))
    throw refused('The statement is about another job, another epoch or another worker.');
  return { signed, parsed: parsed.data };
}

function jsonIn({ payload }: SignedPayload): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch {
    return undefined;
  }
}

const refused = (why: string) => new CodedError('statement_invalid', why);
