import { z } from 'zod';
import type { WorkerRefusal } from '../attestation/refusal.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { decodeUtf8, parseCanonicalJson } from '../../ground/json/strict-json.ts';
import {
  publicKeyFromBase64,
  verifyBytes,
  workerIdOf,
  type PublicKey,
  type SigningKey,
} from '../../ground/keys/signing-key.ts';
import { preAuthEncoding } from '../../proof/receipts/dsse.ts';
import { ReceiptRefused, type VerifiedReceipt } from '../../proof/receipts/receipt.ts';
import { Name, WorkerId } from '../../proof/receipts/fields.ts';

/**
 * The workers whose signatures count: a list that the registry's key signs, with a serial number that only
 * grows and an expiry date. People use that key with `countersign workers`; it is on no server. The newest
 * list also answers for any earlier time, because entries are never removed.
 */
const PAYLOAD_TYPE = 'application/vnd.countersign.workers.v3+json';
const LIMITS = { maxDepth: 8 };
const MAX_BYTES = 64 * 1_048_576;

const Time = z.iso.datetime();
const Words = z.string().max(300);

export const Standing = z.discriminatedUnion('state', [
  z.strictObject({ state: z.literal('active') }),
  /** Temporary. */
  z.strictObject({ state: z.literal('suspended'), from: Time, why: Words }),
  /**
   * Permanent. What the worker signed before `from` counts, unless it was signed at `compromisedSince` or
   * later.
   */
  z.strictObject({ state: z.literal('revoked'), from: Time, compromisedSince: Time.nullable(), why: Words }),
]);

export const WorkerEntry = z.strictObject({
  id: WorkerId,
  publicKey: z.string().max(64),
  /** The pools whose jobs it may answer. */
  pools: z.array(Name).min(1).max(100),
  /** The operator: quorums count operators and not workers. */
  operator: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  labels: z.record(z.string().max(63), z.string().max(200)),
  gpu: z.string().max(200).nullable(),
  enrolledAt: Time,
  /** When a key that has a successor expires. */
  notAfter: Time.nullable(),
  predecessor: WorkerId.nullable(),
  /** What the check of its hardware evidence found at enrolment. */
  hardware: z
    .strictObject({
      evidenceSha256: z.string().regex(/^[0-9a-f]{64}$/),
      properties: z.array(z.string().max(60)).max(20),
      warnings: z.array(z.string().max(60)).max(20),
      at: Time,
    })
    .nullable(),
  standing: Standing,
});
export type WorkerEntry = z.infer<typeof WorkerEntry>;

export const WorkerList = z.strictObject({
  version: z.literal(3),
  serial: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  issuedAt: Time,
  expires: Time,
  workers: z.array(WorkerEntry).max(100_000),
});
export type WorkerList = z.infer<typeof WorkerList>;

const SignedList = z.strictObject({
  payloadType: z.literal(PAYLOAD_TYPE),
  payload: z.string(),
  signatures: z.tuple([z.strictObject({ keyid: z.string().max(64), sig: z.string().max(200) })]),
});

/** The list as a DSSE envelope, one line. */
export function signWorkerList(list: WorkerList, key: SigningKey): string {
  const payload = Buffer.from(JSON.stringify(list));
  const sig = key.sign(preAuthEncoding(PAYLOAD_TYPE, payload)).toString('base64');
  const envelope = {
    payloadType: PAYLOAD_TYPE,
    payload: payload.toString('base64'),
    signatures: [{ keyid: key.public.id, sig }],
  };
  return `${JSON.stringify(envelope)}\n`;
}

/**
 * The list that one of these keys signed, its signed bytes, and the id of the key. Throws CodedError
 * `key_file_unfit`.
 */
export function openWorkerList(
  text: string,
  keys: readonly PublicKey[],
): { list: WorkerList; payload: Buffer; keyId: string } {
  try {
    if (text.length > MAX_BYTES) throw new Error('it is too long');
    const envelope = SignedList.parse(JSON.parse(text));
    const [{ keyid, sig }] = envelope.signatures;
    const payload = Buffer.from(envelope.payload, 'base64');
    const key = keys.find(({ id }) => id === keyid);
    if (key === undefined) throw new Error('it is signed by no key of the role registry');
    if (!verifyBytes(key, preAuthEncoding(PAYLOAD_TYPE, payload), Buffer.from(sig, 'base64')))
      throw new Error('its signature does not verify');
    const list = WorkerList.parse(parseCanonicalJson(decodeUtf8(payload), LIMITS));
    for (const entry of list.workers)
      if (workerIdOf(publicKeyFromBase64(entry.publicKey)) !== entry.id)
        throw new Error(`${entry.id} is not the id of its key`);
    if (new Set(list.workers.map(({ id }) => id)).size !== list.workers.length)
      throw new Error('it names a worker twice');
    return { list, payload, keyId: keyid };
  } catch (cause) {
    throw new CodedError('key_file_unfit', `The list of workers is refused: ${messageOf(cause).slice(0, 300)}.`, {
      cause,
    });
  }
}

/** Why a signature of this worker at this time (ms) does not count, or undefined where it does. */
export function refusalAt({ standing, notAfter, enrolledAt }: WorkerEntry, atMs: number): WorkerRefusal | undefined {
  if (standing.state === 'revoked') {
    const since = Math.min(
      Date.parse(standing.from),
      standing.compromisedSince === null ? Infinity : Date.parse(standing.compromisedSince),
    );
    if (atMs >= since) return 'WORKER_REVOKED';
  }
  if (standing.state === 'suspended' && atMs >= Date.parse(standing.from)) return 'WORKER_SUSPENDED';
  if (notAfter !== null && atMs > Date.parse(notAfter)) return 'WORKER_KEY_EXPIRED';
  return atMs < Date.parse(enrolledAt) - CLOCK_GRACE_MS ? 'WORKER_KEY_EXPIRED' : undefined;
}

/** How far the clocks of the registry and of a worker may differ. */
const CLOCK_GRACE_MS = 60_000;

/**
 * Checks the worker of a verified receipt against the newest list. What it signed before a revocation counts;
 * what was signed since its key was compromised does not, whenever that became known. Throws ReceiptRefused
 * `worker_revoked` or `untrusted_key`.
 */
export function requireStanding(list: WorkerList, receipt: VerifiedReceipt): void {
  const { id } = receipt.evidence.worker;
  const entry = list.workers.find((worker) => worker.id === id);
  if (entry === undefined) throw new ReceiptRefused('untrusted_key', `The list of workers does not have ${id}.`);
  // The time that witnesses attest, where they do.
  const atMs = (receipt.logged.seenAtSeconds ?? NaN) * 1_000 || Date.parse(receipt.verdict.timeCreated);
  const refusal = refusalAt(entry, atMs);
  if (refusal !== undefined)
    throw new ReceiptRefused(
      'worker_revoked',
      `What ${id} signed at ${new Date(atMs).toISOString()} does not count: ${refusal}.`,
    );
}

/** A new entry for an active worker of these pools, without labels or hardware. */
export function workerEntry(
  key: PublicKey,
  operator: string,
  enrolledAt: string,
  pools: readonly string[] = ['default'],
): WorkerEntry {
  return {
    id: workerIdOf(key),
    publicKey: key.raw,
    pools: [...pools],
    operator,
    labels: {},
    gpu: null,
    enrolledAt,
    notAfter: null,
    predecessor: null,
    hardware: null,
    standing: { state: 'active' },
  };
}
