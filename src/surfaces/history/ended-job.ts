import type { JobView } from '../../core/jobs/job.reader.ts';
import { UNSTORED_MS } from '../../core/jobs/erased-record.ts';
import { poolOfQueue } from '../../ground/redis/keys.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { costAt } from '../job-ends/job-end.ts';
import type { EndedJob } from '../memory/history-calls.ts';
import { memoryWorkOf } from '../memory/memory-work.ts';

/** No reason is longer in the history. */
const MAX_DETAIL = 2_000;

/** What the history keeps of a job; undefined while it is open. */
export function endedJobOf(view: JobView): EndedJob | undefined {
  const { ending, erased, id } = view;
  if (ending === undefined) return undefined;
  const { task, policy } =
    erased ?? (view.ticket === undefined ? undefined : readTicket(id, view.ticket).ticket.predicate) ?? {};
  if (task === undefined || policy === undefined) throw new Error(`The job ${id} has neither a ticket nor a stub.`);
  const { used, charge, price } = costAt(view, ending);
  const attempt = view.attempts.at(-1);
  const erasedMs = erased?.erasedMs ?? (isKept(view) ? null : ending.atMs + UNSTORED_MS);
  return {
    id,
    tenant: view.tenant,
    key_id: view.keyId,
    model: view.model,
    pool: poolOfQueue(view.queue),
    task,
    policy: JSON.stringify(policy),
    state: ending.state,
    worker: attempt?.worker ?? '',
    epoch: attempt?.epoch ?? 0,
    code: ending.code,
    // A confirmation always says the same, and what is to be erased is not written down first.
    detail: ending.state === 'done' || erasedMs !== null ? '' : storable(ending.detail.slice(0, MAX_DETAIL)),
    created_ms: view.createdMs,
    deadline_ms: view.deadlineMs,
    claimed_ms: attempt?.claimedMs ?? null,
    began_ms: attempt?.beganMs ?? null,
    committed_ms: attempt?.committedMs ?? null,
    ended_ms: ending.atMs,
    input_tokens: used?.inputTokens ?? null,
    output_tokens: used?.outputTokens ?? null,
    charge: price === undefined ? null : charge,
    currency: price?.currency ?? null,
    erased_ms: erasedMs,
  };
}

/** What holds memories is erased by itself, as what is not to be stored. */
function isKept({ isStored, surface }: JobView): boolean {
  return isStored && memoryWorkOf(surface) === undefined;
}

/** PostgreSQL stores neither the character 0 nor half of a pair. */
function storable(text: string): string {
  return text.replaceAll(/\0|\p{Surrogate}/gu, '\u{FFFD}');
}
