import { CodedError } from '../../ground/errors/coded-error.ts';
import { overloadIn } from '../../core/engines/overload.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';

/** The error of a job that ended otherwise than done, for the caller who waits for its answer. */
export function outcomeError(view: Pick<JobView, 'id' | 'state' | 'ending'>): CodedError {
  const { id, state, ending } = view;
  const headers = { 'countersign-job': id, 'countersign-state': state };
  const detail = ending?.detail ?? '';
  switch (state) {
    case 'rejected':
      return new CodedError('answer_refuted', `The attestor refuted every answer to job ${id}: ${detail}`, { headers });
    case 'expired':
      return new CodedError('job_expired', `Job ${id} expired: ${detail}`, { headers });
    case 'cancelled':
      return new CodedError('job_cancelled', `Job ${id} was cancelled.`, { headers });
    case 'failed':
      return failure(view, headers);
    default:
      return new CodedError('job_not_done', `Job ${id} is ${state}.`, { headers });
  }
}

/** Why a job failed: by its question, by a server that was too busy for it, or by us. */
function failure({ id, ending }: Pick<JobView, 'id' | 'ending'>, headers: Record<string, string>): CodedError {
  const detail = ending?.detail ?? '';
  if (ending?.code === 'context_exceeded')
    return new CodedError('context_length_exceeded', detail, { headers, param: 'messages' });
  if (ending?.code === 'engine_refused')
    return new CodedError('request_invalid', `The model does not accept this request: ${detail}`, { headers });
  const overload = overloadIn(detail);
  if (overload === undefined) return new CodedError('job_failed', `Job ${id} failed: ${detail}`, { headers });
  return new CodedError(overload.status === 429 ? 'rate_limited' : 'overloaded', `Job ${id} failed: ${detail}`, {
    headers: { ...headers, 'retry-after': String(overload.retryAfterS ?? 1) },
  });
}
