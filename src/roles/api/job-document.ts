import type { JobDocument } from '../../proof/contract/job-document.ts';
import { decodeStored } from '../../proof/receipts/dsse.ts';
import type { Ticket } from '../../proof/receipts/statements.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';

const iso = (ms: number) => new Date(ms).toISOString();
const isoOrNull = (ms: number | undefined) => (ms === undefined ? null : iso(ms));

/** The ticket as we signed it; it was checked then. */
function ticketOf(view: JobView): Ticket['predicate'] {
  const signed = decodeStored(Buffer.from(view.ticket));
  if (signed === undefined) throw new Error(`The ticket of ${view.id} is not in its stored form.`);
  return (JSON.parse(signed.payload.toString('utf8')) as Ticket).predicate;
}

export function jobDocument(view: JobView): JobDocument {
  const ticket = ticketOf(view);
  const self = `/v1/jobs/${view.id}`;
  const done = view.state === 'done';
  return {
    id: view.id,
    state: view.state,
    model: view.model,
    task: ticket.task,
    params: ticket.params,
    attestation: ticket.policy,
    created_at: iso(view.createdMs),
    deadline: iso(view.deadlineMs),
    ended_at: isoOrNull(view.ending?.atMs),
    cancel_requested_at: isoOrNull(view.cancelAskedMs),
    reason: view.ending === undefined ? null : { code: view.ending.code, detail: view.ending.detail },
    attempts: view.attempts.map(({ epoch, worker, claimedMs, committedMs, closed }) => ({
      epoch,
      worker,
      started_at: iso(claimedMs),
      committed_at: isoOrNull(committedMs),
      closed: closed === undefined ? null : { why: closed.why, at: iso(closed.atMs), detail: closed.detail },
    })),
    links: {
      self,
      events: `${self}/events`,
      output: done ? `${self}/output` : null,
      receipt: done ? `${self}/receipt` : null,
    },
  };
}
