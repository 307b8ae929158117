import type { RecordContent } from '../../src/core/jobs/job-record.ts';
import { signPayload } from '../../src/proof/receipts/dsse.ts';
import { statementBytes } from '../../src/proof/receipts/statements.ts';
import { api, attestor, documents, newKey } from './sample-receipts.ts';

const worker = newKey();
const { ticket, evidence, verdict } = documents(1);
const TICKET = signPayload(api, statementBytes(ticket));
const EVIDENCE = signPayload(worker, statementBytes(evidence));
const VERDICT = signPayload(attestor, statementBytes(verdict));

/** What the record of a done job says, with documents that fit together, where it differs. */
export function aRecord(change: Partial<RecordContent> = {}): RecordContent {
  return {
    id: ticket.predicate.job,
    tenant: 'acme',
    model: 'noop',
    queue: 'default.noop',
    keyId: 'ck_0123456789',
    createdMs: 1_790_000_000_000,
    deadlineMs: 1_790_000_300_000,
    maxAttempts: 3,
    cancelAskedMs: undefined,
    hold: undefined,
    surface: undefined,
    isStored: true,
    attempts: [
      {
        epoch: 1,
        worker: evidence.predicate.worker.id,
        claimedMs: 1_790_000_000_003,
        beganMs: 1_790_000_000_003,
        committedMs: 1_790_000_000_009,
        closed: undefined,
      },
    ],
    ending: { epoch: 1, code: 'confirmed', detail: 'The attestor confirmed the answer.' },
    ticket: TICKET,
    evidence: EVIDENCE,
    verdict: VERDICT,
    output: Buffer.from('{"text":"In the beginning","finish_reason":"stop"}'),
    salt: Buffer.alloc(32, 9),
    ...change,
  };
}
