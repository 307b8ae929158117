import { Catch, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CodedError } from '../../ground/errors/coded-error.ts';
import type { Tallies } from '../../surfaces/dashboard/tallies.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { allowedMethods } from './allowed-methods.ts';
import { codedErrorOf, methodNotAllowed, problemOf } from '../../surfaces/http/problem.ts';
import { openAiError, retryHeaders } from '../../surfaces/openai/openai-error.ts';

const REFUSALS_EVERY_MS = 1_000;

const OPENAI = /^\/v1\/(chat|completions|embeddings|models|files|batches|responses)(?=[/?]|$)/;

/** Whether OpenAI's clients call this address: they read errors in OpenAI's shape. */
export function isOpenAiPath(url: string): boolean {
  return OPENAI.test(url);
}

/** Addresses that only OpenAI's clients guess, such as those of a base URL without its /v1. */
const GUESSED = /^(\/v1)+\/|^\/(chat|completions|embeddings|models|files|batches|responses)(?=[/?]|$)/;

/** A problem document that OpenAI's clients can read too, where nobody knows who asks. */
export function documentForAnyone(error: CodedError): object {
  return { ...problemOf(error), ...openAiError(error) };
}

/** A problem document, or OpenAI's error where its clients ask: they print nothing of any other. */
export function sendError(thrown: CodedError, request: FastifyRequest, reply: FastifyReply): void {
  const allow = thrown.code === 'route_not_found' ? allowedMethods(request.url) : undefined;
  const error = allow === undefined ? thrown : methodNotAllowed(thrown, allow);
  const isOpenAi = isOpenAiPath(request.url) || (error.code === 'route_not_found' && GUESSED.test(request.url));
  void reply
    .status(error.status)
    .headers(isOpenAi ? { ...error.headers, ...retryHeaders(error) } : error.headers)
    .type(isOpenAi ? 'application/json; charset=utf-8' : 'application/problem+json; charset=utf-8')
    .send(
      JSON.stringify(
        isOpenAi ? openAiError(error) : error.code === 'route_not_found' ? documentForAnyone(error) : problemOf(error),
      ),
    );
}

/** Where work is sent: what is refused there was refused at the door. */
const SENDS_WORK = /^POST \/v1\/(jobs|chat\/completions|completions|embeddings|responses|batches)\/?(\?|$)/;

@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger: Logger;

  /** Callers that are refused come by the thousand: one line a second says so. */
  readonly #tell: (refusal: object) => void;

  readonly #tallies: Pick<Tallies, 'refused'>;

  constructor(logger: Logger, tallies: Pick<Tallies, 'refused'>) {
    this.#logger = logger;
    this.#tallies = tallies;
    this.#tell = rateLimited(REFUSALS_EVERY_MS, (refusal: object, suppressed) => {
      logger.info({ ...refusal, suppressed }, 'a request was refused');
    });
  }

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    this.answer(codedErrorOf(error, request.routeOptions.bodyLimit), request, http.getResponse<FastifyReply>());
  }

  answer(error: CodedError, request: FastifyRequest, reply: FastifyReply): void {
    count('countersign_refusals_total', { code: error.code });
    if (SENDS_WORK.test(`${request.method} ${request.url}`)) this.#tallies.refused(error.code);
    const about = { code: error.code, method: request.method, route: request.routeOptions.url };
    // Only what is unforeseen is a fault of ours, and needs its stack. A 503 says what is known already.
    if (error.status === 500) this.#logger.error({ ...about, err: error.cause ?? error }, error.message);
    // What is wrong with a request quotes it, and people put their secrets anywhere.
    else this.#tell(error.status < 500 ? about : { ...about, detail: error.message });
    if (reply.sent || reply.raw.headersSent) {
      reply.raw.destroy();
      return;
    }
    sendError(error, request, reply);
  }
}
