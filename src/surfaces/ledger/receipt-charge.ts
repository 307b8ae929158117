import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { ErasedRecord } from '../../core/jobs/erased-record.ts';
import type { JobRecord } from '../../core/jobs/job-record.ts';
import type { JobState } from '../../proof/contract/job-states.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { Evidence, Ticket, Verdict } from '../../proof/receipts/statements.ts';

/** What is kept of a job that has ended, whether Redis or the archive keeps it. */
export interface KeptJob {
  readonly state: JobState;
  readonly record: Pick<JobRecord, 'ticket' | 'evidence' | 'verdict'> | undefined;
  readonly erased: Pick<ErasedRecord, 'charge'> | undefined;
}

/**
 * What the signed documents of a done job come to, in millionths; of an erased job what they came to.
 * Undefined if the job is not done or has no price; NaN if a signature or a digest in them is wrong.
 */
export function receiptCharge({ state, record, erased }: KeptJob, keyring: Keyring): number | undefined {
  // Its documents are gone; what they came to was noted when they went.
  if (erased !== undefined) return state === 'done' ? erased.charge : undefined;
  const { ticket, evidence, verdict } = record ?? {};
  if (state !== 'done' || ticket === undefined || evidence === undefined || verdict === undefined) return undefined;
  const said = Verdict.parse(jsonOf(verdict));
  const key = keyring.find('attestor', verdict.keyId, Date.parse(said.predicate.timeCreated));
  const isSound =
    !('refused' in key) &&
    verifyPayload(key, verdict) &&
    said.predicate.ticket.sha256 === sha256Hex(ticket.payload) &&
    said.subject[0].digest.sha256 === sha256Hex(evidence.payload);
  if (!isSound) return Number.NaN;
  const asked = Ticket.parse(jsonOf(ticket)).predicate;
  return asked.price === undefined
    ? undefined
    : chargeOf(asked, Evidence.parse(jsonOf(evidence)).predicate, said.predicate);
}

function jsonOf(signed: SignedPayload): unknown {
  return JSON.parse(signed.payload.toString('utf8'));
}
