import { Body, Controller, Headers, HttpCode, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { AnswerDocument } from '../../surfaces/openai/answer-document.ts';
import type { SubmitOptions } from '../../surfaces/admission/admission.ts';
import { memoryWish } from '../../surfaces/memory/memory-wish.ts';
import { Recall, type Recalled } from '../../surfaces/memory/recall.ts';
import { Completions } from '../../surfaces/openai/completions.ts';
import { readRequest, type Asked, type Endpoint } from '../../surfaces/openai/requests.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import { Caller, Needs, Payable } from './caller.guard.ts';
import { EventStreams } from './event-streams.ts';
import { signalOf } from '../../surfaces/http/hang-up.ts';
import { OwnAnswers } from './own-answers.ts';
import { askedOnce, parseIdempotencyKey } from './parse.ts';
import { AnswerWish, HangUpWish } from './request-headers.ts';

interface Wishes {
  readonly idempotencyKey: string | undefined;
  /** Answer as soon as a worker has, without waiting for the attestor. */
  readonly isProvisional: boolean;
  /** Whether the job goes on when the caller hangs up. */
  readonly isKept: boolean;
}

/** The routes that OpenAI's clients call for answers. */
@Controller('/v1')
export class OpenAiController {
  readonly #completions: Completions;
  readonly #streams: EventStreams;
  readonly #gate: PaymentGate;
  readonly #own: OwnAnswers;
  readonly #recall: Recall;

  constructor(completions: Completions, streams: EventStreams, gate: PaymentGate, own: OwnAnswers, recall: Recall) {
    this.#recall = recall;
    this.#own = own;
    this.#completions = completions;
    this.#streams = streams;
    this.#gate = gate;
  }

  @Post('chat/completions')
  @HttpCode(200)
  @Needs('submit')
  @Payable()
  chat(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers() headers: Record<string, string | undefined>,
    @Res() reply: FastifyReply,
  ) {
    return this.#answer('/v1/chat/completions', caller, body, headers, reply);
  }

  @Post('completions')
  @HttpCode(200)
  @Needs('submit')
  @Payable()
  completions(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers() headers: Record<string, string | undefined>,
    @Res() reply: FastifyReply,
  ) {
    return this.#answer('/v1/completions', caller, body, headers, reply);
  }

  @Post('embeddings')
  @HttpCode(200)
  @Needs('submit')
  @Payable()
  embeddings(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers() headers: Record<string, string | undefined>,
    @Res() reply: FastifyReply,
  ) {
    return this.#answer('/v1/embeddings', caller, body, headers, reply);
  }

  async #answer(
    endpoint: Endpoint,
    caller: ApiCaller,
    body: unknown,
    headers: Record<string, string | undefined>,
    reply: FastifyReply,
  ): Promise<void> {
    const read = readRequest(endpoint, body);
    const wishes = readWishes(headers);
    requireWishes(endpoint, read, wishes);
    const { idempotencyKey } = wishes;
    const wish = memoryWish(read.memory, headers['countersign-memory']);
    const recalled = wish && (await this.#recall.into(caller, wish, read.jobs));
    const asked = recalled === undefined ? read : { ...read, jobs: recalled.jobs };
    const once = askedOnce(idempotencyKey, endpoint, wish === undefined ? body : { body, memory: wish });
    const paid = await this.#gate.require(caller, asked.jobs, {
      payment: headers['payment-signature'],
      idempotencyKey,
      request: once.request,
      path: endpoint,
    });
    if (paid !== undefined && (asked.isStreamed || wishes.isProvisional))
      throw new CodedError(
        'request_invalid',
        'An answer that is paid for by itself can be neither streamed nor provisional: it comes once it is confirmed.',
      );
    if (asked.isStreamed) this.#streams.requireRoom(caller.keyId);
    // The signal is made before the job is accepted, so that a caller who hangs up meanwhile is noticed.
    const hungUp = signalOf(reply);
    const admitted = await this.#completions.submit(
      paid?.submitter ?? caller,
      paid === undefined ? asked : { jobs: [paid.job] },
      paid?.options ?? { ...once, ...optionsOf(recalled) },
    );
    if (paid === undefined) await this.#own.require(caller, admitted);
    const ids = admitted.map(({ id }) => id);
    const [first] = admitted;
    const { tenant } = paid?.submitter ?? caller;
    const named = {
      'countersign-job': ids.join(', '),
      'x-request-id': ids[0] ?? '',
      ...(paid === undefined || first === undefined ? {} : await this.#gate.headersOf(paid, first)),
    };
    if (asked.isStreamed) {
      await this.#streams.serve(reply, caller.keyId, (signal) => this.#frames(tenant, asked, ids, signal, wishes), {
        ...named,
        'countersign-state': 'provisional',
      });
      return;
    }
    const answer = await this.#answerOf(tenant, asked, ids, hungUp, wishes);
    await reply
      .status(200)
      .headers({
        ...named,
        ...(paid === undefined || first === undefined ? {} : await this.#gate.outcomeOf(first.id)),
        ...stateHeaders(ids, wishes),
      })
      .type('application/json; charset=utf-8')
      .send(JSON.stringify(answer));
  }

  /** The whole answer. Unless the caller wants the jobs kept, they are cancelled when it hangs up. */
  async #answerOf(
    tenant: string,
    asked: Asked,
    ids: readonly string[],
    hungUp: AbortSignal,
    { isKept, isProvisional }: Wishes,
  ): Promise<AnswerDocument> {
    if (!isKept && !isProvisional)
      hungUp.addEventListener('abort', () => void this.#completions.cancel(tenant, ids), { once: true });
    if (hungUp.aborted && !isKept) await this.#completions.cancel(tenant, ids);
    return isProvisional
      ? this.#completions.provisionalAnswer(tenant, asked, ids, hungUp)
      : this.#completions.answer(tenant, asked, ids, hungUp);
  }

  async *#frames(
    tenant: string,
    asked: Asked,
    ids: readonly string[],
    signal: AbortSignal,
    { isKept }: Wishes,
  ): AsyncGenerator<string> {
    try {
      yield* this.#completions.stream(tenant, asked, ids, signal);
    } finally {
      // A job that is final is not touched by this.
      if (!isKept) await this.#completions.cancel(tenant, ids);
    }
  }
}

/** Throws CodedError `request_invalid` where the answer cannot be provisional. */
function requireWishes(endpoint: Endpoint, asked: Asked, wishes: Wishes): void {
  if (wishes.isProvisional && (asked.isStreamed || endpoint === '/v1/embeddings'))
    throw new CodedError(
      'request_invalid',
      'Only text that is not streamed can be answered provisionally; a stream is provisional until its last frame.',
    );
}

function optionsOf(recalled: Recalled | undefined): Pick<SubmitOptions, 'memories' | 'surface'> {
  if (recalled === undefined) return {};
  const { options, work } = recalled;
  return { ...options, ...(work === undefined ? {} : { surface: JSON.stringify({ memory: work }) }) };
}

function stateHeaders(ids: readonly string[], { isProvisional }: Wishes): Record<string, string> {
  if (isProvisional) return { 'countersign-state': 'provisional' };
  return {
    'countersign-state': 'done',
    'countersign-receipt': ids.map((id) => `/v1/jobs/${id}/receipt`).join(', '),
  };
}

function readWishes(headers: Record<string, string | undefined>): Wishes {
  const idempotencyKey = parseIdempotencyKey(headers['idempotency-key']);
  return {
    idempotencyKey,
    isProvisional: readWish(AnswerWish, 'countersign-answer', headers) === 'provisional',
    // A caller with a key comes back for the job that it has left, and others may wait under the same key.
    isKept: idempotencyKey !== undefined || readWish(HangUpWish, 'countersign-on-hang-up', headers) === 'keep',
  };
}

function readWish<Values extends Record<string, string>>(
  schema: z.ZodDefault<z.ZodEnum<Values>>,
  name: string,
  headers: Record<string, string | undefined>,
): Values[keyof Values] {
  const parsed = schema.safeParse(headers[name]);
  if (parsed.success) return parsed.data;
  const values = schema.unwrap().options.map((value) => `"${value}"`);
  throw new CodedError('request_invalid', `The header ${name} must be ${values.join(' or ')}.`);
}
