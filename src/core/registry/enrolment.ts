import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import {
  publicKeyFromBase64,
  verifyBytes,
  workerIdOf,
  type PublicKey,
  type SigningKey,
} from '../../ground/keys/signing-key.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { JoinAsk } from '../catalog/announcement.ts';
import { TeeEvidence } from '../attestation/tee/tee-evidence.ts';

/**
 * Enrolment: the operator of the pool hands out a challenge. The operator of the worker has the worker's key
 * sign it together with facts about the worker. The operator of the pool then enters the worker in the list.
 * A rotation is signed by the preceding key as well.
 */
const DOMAIN = 'cb/enrol/v1\0';
const CHALLENGE_BYTES = 32;
export const CHALLENGE_LIFE_MS = 3_600_000;

const Facts = z.strictObject({
  challenge: z.string().regex(/^[0-9a-f]{64}$/),
  role: z.literal('worker'),
  worker: z.string().max(64),
  publicKey: z.string().max(64),
  operator: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  labels: z.record(z.string().max(63), z.string().max(200)),
  gpu: z.string().max(200).nullable(),
  predecessor: z.string().max(64).nullable(),
  evidence: TeeEvidence.nullable(),
  /** Of a worker that was invited. */
  join: JoinAsk.optional(),
});
export type Facts = z.infer<typeof Facts>;

const Signature = z.string().regex(/^[A-Za-z0-9+/]{86}==$/);
export const EnrolmentRequest = z.strictObject({
  facts: z.string().max(1_048_576),
  signature: Signature,
  predecessorSignature: Signature.nullable(),
});
export type EnrolmentRequest = z.infer<typeof EnrolmentRequest>;

/** A challenge: 32 random bytes in hexadecimal. */
export function newChallenge(): string {
  return freshRandom(CHALLENGE_BYTES).toString('hex');
}

const signed = (facts: string) => Buffer.from(`${DOMAIN}${facts}`);

/** A worker's answer to a challenge; with `predecessor`, as the successor of that key. */
export function requestEnrolment(
  key: SigningKey,
  about: Omit<Facts, 'role' | 'worker' | 'publicKey' | 'predecessor'>,
  predecessor?: SigningKey,
): EnrolmentRequest {
  const facts: Facts = {
    challenge: about.challenge,
    role: 'worker',
    worker: workerIdOf(key.public),
    publicKey: key.public.raw,
    operator: about.operator,
    labels: about.labels,
    gpu: about.gpu,
    predecessor: predecessor === undefined ? null : workerIdOf(predecessor.public),
    evidence: about.evidence,
    ...(about.join === undefined ? {} : { join: about.join }),
  };
  const text = JSON.stringify(facts);
  return {
    facts: text,
    signature: key.sign(signed(text)).toString('base64'),
    predecessorSignature: predecessor?.sign(signed(text)).toString('base64') ?? null,
  };
}

/**
 * Returns the facts of a request and its key, once its signatures verify: by the key itself, which passes the
 * strict point check, and by the preceding key where the request names one. The caller checks that it handed
 * out the challenge. Throws CodedError `enrolment_refused`.
 */
export function openEnrolment(
  request: EnrolmentRequest,
  predecessorOf: (worker: string) => PublicKey | undefined,
): { facts: Facts; key: PublicKey } {
  const refuse = (why: string, cause?: unknown) => new CodedError('enrolment_refused', why, { cause });
  let facts: Facts;
  let key: PublicKey;
  try {
    facts = Facts.parse(JSON.parse(request.facts));
    key = publicKeyFromBase64(facts.publicKey);
  } catch (cause) {
    throw refuse('The request is malformed, or its key is not a point of prime order.', cause);
  }
  if (workerIdOf(key) !== facts.worker) throw refuse(`${facts.worker} is not the id of the key.`);
  if (!verifyBytes(key, signed(request.facts), Buffer.from(request.signature, 'base64')))
    throw refuse('The request is not signed by the key that it names.');
  if (facts.predecessor !== null) {
    const before = predecessorOf(facts.predecessor);
    if (before === undefined) throw refuse(`There is no worker ${facts.predecessor} to take over from.`);
    if (!verifyBytes(before, signed(request.facts), Buffer.from(request.predecessorSignature ?? '', 'base64')))
      throw refuse('The rotation is not signed by the key before.');
  }
  return { facts, key };
}
