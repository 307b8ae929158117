import type { RecordContent } from '../jobs/job-record.ts';
import type { SignedPayload } from '../../proof/receipts/dsse.ts';
import type { CaseFile } from './case-file.ts';

/** A verdict that confirms, with all that the record of the job says beside it. */
export interface Confirmation {
  readonly file: CaseFile;
  readonly ticket: SignedPayload;
  readonly evidence: SignedPayload;
  readonly verdict: SignedPayload;
  /** The output where it is small; a large one is a blob. */
  readonly output: Buffer | undefined;
  /** How long (ms) the engine worked: as its worker signed, within what Redis' clock allows. */
  readonly tookMs: number;
}

/** What the record of a confirmed job says, once its entry in the log has this salt. */
export function recordOf({ file, ticket, evidence, verdict, output }: Confirmation, salt: Buffer): RecordContent {
  return {
    id: file.id,
    tenant: file.tenant,
    model: file.model,
    queue: file.queue,
    keyId: file.keyId,
    createdMs: file.createdMs,
    deadlineMs: file.deadlineMs,
    maxAttempts: file.maxAttempts,
    cancelAskedMs: file.cancelAskedMs,
    hold: file.hold,
    surface: file.surface,
    isStored: file.isStored,
    attempts: file.attempts,
    ending: { epoch: file.epoch, code: 'confirmed', detail: 'The attestor confirmed the answer.' },
    ticket,
    evidence,
    verdict,
    output,
    salt,
  };
}
