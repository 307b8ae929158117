import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { isOfAnotherType } from '../../ground/redis/reply.ts';
import { codedErrorOf, problemOf } from '../../surfaces/http/problem.ts';

const REFUSALS_EVERY_MS = 1_000;

/**
 * What was thrown, as the worker that asked is told. A gateway touches keys of its pool alone, and any worker
 * of the pool with a login can spoil those: that is no fault of who asks, and over in a moment.
 */
export function gatewayErrorOf(thrown: unknown): CodedError {
  if (!isOfAnotherType(thrown)) return codedErrorOf(thrown);
  const detail = 'Another worker of this pool has spoilt one of its keys, which is made anew; ask again in a moment.';
  return new CodedError('storage_unavailable', detail, { cause: thrown, headers: { 'retry-after': '5' } });
}

/** Answers with the problem document of an error. */
export function sendProblem(error: CodedError, _request: FastifyRequest, reply: FastifyReply): void {
  count('countersign_refusals_total', { code: error.code });
  void reply
    .status(error.status)
    .headers(error.headers)
    .type('application/problem+json; charset=utf-8')
    .send(JSON.stringify(problemOf(error)));
}

/** Answers what a route has thrown. A flood of refusals is one line a second in the log. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger: Logger;
  readonly #tell: (refusal: object) => void;

  constructor(logger: Logger) {
    this.#logger = logger;
    this.#tell = rateLimited(REFUSALS_EVERY_MS, (refusal: object, suppressed) => {
      logger.info({ ...refusal, suppressed }, 'a request was refused');
    });
  }

  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const [request, reply] = [http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>()];
    const error = gatewayErrorOf(thrown);
    const about = { code: error.code, method: request.method, route: request.routeOptions.url };
    if (error.status === 500) this.#logger.error({ ...about, err: error.cause ?? error }, error.message);
    // What is wrong with a request quotes it, and people put their secrets anywhere.
    else this.#tell(error.status < 500 ? about : { ...about, detail: error.message });
    if (reply.sent || reply.raw.headersSent) reply.raw.destroy();
    else sendProblem(error, request, reply);
  }
}
