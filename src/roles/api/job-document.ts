import type { JobDocument } from '../../proof/contract/job-document.ts';
import { retriedFrom } from '../../surfaces/admission/retry-mark.ts';
import { costAt } from '../../surfaces/job-ends/job-end.ts';
import type { EndedJob } from '../../surfaces/memory/history-calls.ts';
import { readTicket, Policy } from '../../proof/receipts/statements.ts';
import { howConfirmed } from '../../proof/receipts/how-confirmed.ts';
import type { Eta, Foreseen } from '../../core/forecast/prospects.ts';
import { verdictOf, type JobView } from '../../core/jobs/job.reader.ts';

const iso = (ms: number) => new Date(ms).toISOString();
const isoOrNull = (ms: number | undefined) => (ms === undefined ? null : iso(ms));

/** The job as HTTP shows it, with what is foreseen of it where that is known. */
export function jobDocument(view: JobView, foreseen?: Foreseen): JobDocument {
  const { task, params, policy } = askedOf(view);
  const self = `/v1/jobs/${view.id}`;
  const hasAnswer = view.state === 'done' && view.erased === undefined;
  return {
    id: view.id,
    state: view.state,
    model: view.model,
    task,
    params,
    attestation: policy,
    created_at: iso(view.createdMs),
    deadline: iso(view.deadlineMs),
    not_before: isoOrNull(view.notBeforeMs),
    priority: view.priority ?? null,
    band: view.band ?? null,
    ended_at: isoOrNull(view.ending?.atMs),
    erased_at: isoOrNull(view.erased?.erasedMs),
    cancel_requested_at: isoOrNull(view.cancelAskedMs),
    retried_from: retriedFrom(view.surface) ?? null,
    reason: view.ending === undefined ? null : { code: view.ending.code, detail: view.ending.detail },
    ...howConfirmed(view.state === 'done' ? verdictOf(view) : undefined),
    charge: chargeDocument(view),
    ...foreseenDocument(foreseen),
    attempts: view.attempts.map(({ epoch, worker, claimedMs, beganMs, committedMs, closed }) => ({
      epoch,
      worker,
      claimed_at: iso(claimedMs),
      started_at: isoOrNull(beganMs),
      committed_at: isoOrNull(committedMs),
      closed: closed === undefined ? null : { why: closed.why, at: iso(closed.atMs), detail: closed.detail },
    })),
    links: {
      self,
      events: `${self}/events`,
      output: hasAnswer ? `${self}/output` : null,
      receipt: hasAnswer ? `${self}/receipt` : null,
    },
  };
}

/**
 * An ended job as HTTP shows what the history keeps of it: without its parameters and what its verdict says,
 * and of its attempts the last.
 */
export function pastDocument(job: EndedJob): JobDocument {
  const self = `/v1/jobs/${job.id}`;
  const hasAnswer = job.state === 'done' && (job.erased_ms === null || job.erased_ms > Date.now());
  return {
    id: job.id,
    state: job.state,
    model: job.model,
    task: job.task,
    params: null,
    attestation: Policy.parse(JSON.parse(job.policy)),
    created_at: iso(job.created_ms),
    deadline: iso(job.deadline_ms),
    not_before: null,
    priority: null,
    band: null,
    ended_at: iso(job.ended_ms),
    erased_at: job.erased_ms === null || job.erased_ms > Date.now() ? null : iso(job.erased_ms),
    cancel_requested_at: null,
    retried_from: null,
    reason: { code: job.code, detail: job.detail },
    confirmed_by: null,
    not_checked: null,
    charge: null,
    queue_position: null,
    eta: null,
    attempts:
      job.claimed_ms === null
        ? []
        : [
            {
              epoch: job.epoch,
              worker: job.worker,
              claimed_at: iso(job.claimed_ms),
              started_at: isoOrNull(job.began_ms ?? undefined),
              committed_at: isoOrNull(job.committed_ms ?? undefined),
              closed: null,
            },
          ],
    links: {
      self,
      events: `${self}/events`,
      output: hasAnswer ? `${self}/output` : null,
      receipt: hasAnswer ? `${self}/receipt` : null,
    },
  };
}

function chargeDocument(view: JobView): JobDocument['charge'] {
  if (view.ending === undefined) return null;
  const { price, charge } = costAt(view, view.ending);
  return price === undefined ? null : { amount: charge, currency: price.currency };
}

/** What is foreseen of a job, as HTTP shows it. */
export function foreseenDocument(foreseen: Foreseen | undefined): Pick<JobDocument, 'queue_position' | 'eta'> {
  return {
    queue_position: foreseen?.position ?? null,
    eta: foreseen?.eta === undefined ? null : etaDocument(foreseen.eta),
  };
}

function etaDocument({ p50Ms, p90Ms }: Eta): { p50: string; p90: string } {
  return { p50: iso(p50Ms), p90: iso(p90Ms) };
}

/** What the job was asked to do; of one that was erased without the parameters. */
function askedOf({ id, ticket, erased }: JobView): Pick<JobDocument, 'task' | 'params'> & { policy: Policy } {
  if (erased !== undefined) return { task: erased.task, params: null, policy: erased.policy };
  if (ticket === undefined) throw new Error(`The job ${id} has neither a ticket nor a stub.`);
  return readTicket(id, ticket).ticket.predicate;
}
