import { Injectable, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { catchError, mergeMap, type Observable } from 'rxjs';
import { Attempts } from '../../core/audit/attempts.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { callerOf, sessionOf } from './caller.guard.ts';

/**
 * What is an act of power, by route. `with the change`: its store writes change and entry in one step.
 * Otherwise the entry is written, under this name, when it was done and before it is answered; reading a
 * secret is noted as `Attempts` does it. A test compares this table with the table of routes.
 */
export const AUDITED_ROUTES: Readonly<Record<string, string>> = {
  'post /v1/admin/tenants': 'with the change',
  'patch /v1/admin/tenants/{tenant}': 'with the change',
  'delete /v1/admin/tenants/{tenant}': 'with the change',
  'post /v1/admin/tenants/{tenant}/keys': 'with the change',
  'patch /v1/admin/keys/{key}': 'with the change',
  'post /v1/admin/keys/{key}/rotate': 'with the change',
  'delete /v1/admin/keys/{key}': 'with the change',
  'patch /v1/admin/pools/{pool}': 'with the change',
  'post /v1/admin/pools/{pool}/empty': 'with the change',
  'post /v1/keys': 'with the change',
  'patch /v1/keys/{key}': 'with the change',
  'post /v1/keys/{key}/rotate': 'with the change',
  'delete /v1/keys/{key}': 'with the change',
  'delete /v1/jobs/{id}': 'with the change',
  'delete /v1/responses/{response}': 'with the change',
  'delete /v1/files/{id}': 'file.delete',
  'post /v1/batches/{id}/cancel': 'batch.cancel',
  'post /v1/schedules': 'with the change',
  'patch /v1/schedules/{schedule}': 'with the change',
  'delete /v1/schedules/{schedule}': 'with the change',
  'post /v1/memories/batch-delete': 'with the change',
  'delete /v1/memories/{memory}': 'with the change',
  'delete /v1/owners/{owner}': 'with the change',
  'delete /mem0/{path}': 'with the change',
  'post /v1/webhooks': 'webhook.create',
  'patch /v1/webhooks/{webhook}': 'webhook.change',
  'delete /v1/webhooks/{webhook}': 'webhook.delete',
  'post /v1/webhooks/{webhook}/rotate': 'webhook.secret.rotate',
  'post /v1/webhooks/default/rotate': 'webhook.secret.rotate',
  'post /v1/webhooks/{webhook}/test': 'webhook.test',
  'post /v1/deliveries/{delivery}/redeliver': 'webhook.redeliver',
  'get /v1/webhooks/{webhook}/secret': 'webhook.secret.read',
  'get /v1/webhooks/default/secret': 'webhook.secret.read',
  'post /v1/session': 'with the change',
  'delete /v1/session': 'with the change',
  'post /v1/session/links': 'with the change',
  'get /v1/admin/audit/export': 'audit.export',
};

/** What a person sees in the dashboard is noted; a program that reads its own answers is not. */
export const SEEN_BY_PEOPLE: Readonly<Record<string, string>> = {
  'get /v1/jobs/{id}/output': 'job.answer.read',
  'get /v1/files/{id}/content': 'file.content.read',
};

/** The name of the route of a request, as the table of operations has it. */
export function routeOf({ method, routeOptions: { url } }: Pick<FastifyRequest, 'method' | 'routeOptions'>): string {
  return `${method.toLowerCase()} ${(url ?? '').replace(/:(\w+)/g, '{$1}')}`;
}

/** Writes acts of power into the audit log, and counts those that were refused for too much of it. */
@Injectable()
export class AuditedRoutes implements NestInterceptor {
  readonly #audit: AuditLog;
  readonly #attempts: Attempts;

  constructor(audit: AuditLog, attempts: Attempts) {
    this.#audit = audit;
    this.#attempts = attempts;
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const route = routeOf(request);
    const action = AUDITED_ROUTES[route] ?? (sessionOf(request) === undefined ? undefined : SEEN_BY_PEOPLE[route]);
    const caller = callerOf(request);
    if (action === undefined || caller === undefined) return next.handle();
    const { tenant, keyId: by } = caller;
    const refused = catchError((error: unknown): never => {
      if (error instanceof CodedError && error.code === 'power_exceeded')
        this.#attempts.note({ by, action: 'refused', target: route, tenant });
      throw error;
    });
    if (action === 'with the change') return next.handle().pipe(refused);
    return next.handle().pipe(
      refused,
      mergeMap(async (answer: unknown) => {
        const act = { by, action, target: targetOf(request, answer), tenant };
        if (request.method === 'GET') this.#attempts.note(act);
        else await this.#audit.note({ ...act, detail: {} });
        return answer;
      }),
    );
  }
}

/** What the path names, or the id of what was made. */
function targetOf({ params, url }: FastifyRequest, answer: unknown): string {
  const named: unknown = typeof params === 'object' && params !== null ? Object.values(params)[0] : undefined;
  if (typeof named === 'string' && named !== '') return named;
  if (typeof answer === 'object' && answer !== null && 'id' in answer && typeof answer.id === 'string')
    return answer.id;
  return url.split('?')[0] ?? '';
}
