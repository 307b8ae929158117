import type { JobDocument } from '../../proof/contract/job-document.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';

const iso = (ms: number) => new Date(ms).toISOString();
const isoOrNull = (ms: number | undefined) => (ms === undefined ? null : iso(ms));

export function jobDocument(view: JobView): JobDocument {
  const ticket = readTicket(view.id, view.ticket).ticket.predicate;
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
