import { z } from 'zod';
import { decodeStored } from '../receipts/dsse.ts';
import type { Ticket } from '../receipts/statements.ts';
import { JOB_STATES, CLOSINGS } from '../jobs/job-state.ts';
import type { JobView } from '../jobs/job.reader.ts';

/** A job as HTTP shows it. */
export const JobDocument = z.strictObject({
  id: z.string(),
  state: z.enum(JOB_STATES),
  model: z.string(),
  task: z.string(),
  params: z.looseObject({}),
  attestation: z.strictObject({
    recompute: z.number(),
    tokens: z.number().optional(),
    quorum: z.strictObject({ of: z.number(), agree: z.number() }).optional(),
    tee: z.literal(true).optional(),
  }),
  created_at: z.string(),
  deadline: z.string(),
  ended_at: z.string().nullable(),
  cancel_requested_at: z.string().nullable(),
  reason: z.strictObject({ code: z.string(), detail: z.string() }).nullable(),
  attempts: z.array(
    z.strictObject({
      epoch: z.number(),
      worker: z.string(),
      started_at: z.string(),
      committed_at: z.string().nullable(),
      closed: z.strictObject({ why: z.enum(CLOSINGS), at: z.string(), detail: z.string() }).nullable(),
    }),
  ),
  links: z.strictObject({
    self: z.string(),
    events: z.string(),
    output: z.string().nullable(),
    receipt: z.string().nullable(),
  }),
});
export type JobDocument = z.infer<typeof JobDocument>;

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
