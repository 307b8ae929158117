import { beginHere, type Span } from '../../ground/tracing/spans.ts';
import { queueName } from '../../ground/redis/keys.ts';

/** Begins the span of one job's admission, where it is traced; what becomes of the job is of its trace. */
export function beginAdmission(
  { id, tenant, createdMs }: { readonly id: string; readonly tenant: string; readonly createdMs: number },
  { pool, name }: { readonly pool: string; readonly name: string },
): Span | undefined {
  const queue = queueName(pool, name);
  const span = beginHere('admit', `send ${queue}`, createdMs);
  span?.note({
    'messaging.system': 'bullmq',
    'messaging.operation.type': 'send',
    'messaging.destination.name': queue,
    'countersign.job.id': id,
    'countersign.tenant': tenant,
  });
  return span;
}

/** Ends the spans of a request's jobs, which are accepted all or none; `kind` is that of its reply. */
export function endAdmissions(jobs: readonly { readonly span: Span | undefined }[], kind: string): void {
  for (const { span } of jobs) {
    span?.note({ 'countersign.outcome': kind });
    span?.end(kind === 'ok' || kind === 'same' ? {} : { error: kind });
  }
}
