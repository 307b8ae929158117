import { Body, Controller, Headers, HttpCode, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { Completions } from '../../surfaces/openai/completions.ts';
import { readRequest, type Endpoint } from '../../surfaces/openai/requests.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import { Caller, Needs, Payable } from './caller.guard.ts';
import { EventStreams } from './event-streams.ts';
import { signalOf } from './hang-up.ts';
import { parseIdempotencyKey } from './parse.ts';
import { AnswerWish, HangUpWish } from './request-headers.ts';

interface Wishes {
  readonly idempotencyKey: string | undefined;
  /** Answer as soon as a worker has, without waiting for the attestor. */
  readonly isProvisional: boolean;
  /** Whether the job goes on when the caller hangs up. */
  readonly isKept: boolean;
}

/** What any OpenAI client calls. */
@Controller('/v1')
export class OpenAiController {
  readonly #completions: Completions;
  readonly #streams: EventStreams;
  readonly #gate: PaymentGate;

  constructor(completions: Completions, streams: EventStreams, gate: PaymentGate) {
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
    const asked = readRequest(endpoint, body);
    const wishes = readWishes(headers);
    if (wishes.isProvisional && (asked.isStreamed || endpoint === '/v1/embeddings'))
      throw new CodedError(
        'request_invalid',
        'A provisional answer is for text that is not streamed; a stream is provisional until its last frame.',
      );
    const { idempotencyKey } = wishes;
    const paid = await this.#gate.require(caller, asked.jobs, {
      payment: headers['payment-signature'],
      idempotencyKey,
      path: endpoint,
    });
    if (paid !== undefined && (asked.isStreamed || wishes.isProvisional))
      throw new CodedError('request_invalid', 'What is paid for by itself comes whole, once it is confirmed and paid.');
    if (asked.isStreamed) this.#streams.requireRoom(caller.keyId);
    // From here on a caller who hangs up is noticed, also while the job is being accepted.
    const hungUp = signalOf(reply);
    const admitted = await this.#completions.submit(
      paid?.submitter ?? caller,
      paid === undefined ? asked : { jobs: [paid.job] },
      paid?.options ?? { idempotencyKey },
    );
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
    if (!wishes.isKept && !wishes.isProvisional)
      hungUp.addEventListener('abort', () => void this.#completions.cancel(tenant, ids), { once: true });
    if (hungUp.aborted && !wishes.isKept) await this.#completions.cancel(tenant, ids);
    const answer = wishes.isProvisional
      ? await this.#completions.provisionalAnswer(tenant, asked, ids, hungUp)
      : await this.#completions.answer(tenant, asked, ids, hungUp);
    await reply
      .status(200)
      .headers({
        ...named,
        ...(paid === undefined || first === undefined ? {} : await this.#gate.outcomeOf(first.id)),
        'countersign-state': wishes.isProvisional ? 'provisional' : 'done',
        ...(wishes.isProvisional
          ? {}
          : { 'countersign-receipt': ids.map((id) => `/v1/jobs/${id}/receipt`).join(', ') }),
      })
      .type('application/json; charset=utf-8')
      .send(JSON.stringify(answer));
  }

  async *#frames(
    tenant: string,
    asked: Parameters<Completions['stream']>[1],
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

function readWishes(headers: Record<string, string | undefined>): Wishes {
  return {
    idempotencyKey: parseIdempotencyKey(headers['idempotency-key']),
    isProvisional: readWish(AnswerWish, 'countersign-answer', headers) === 'provisional',
    isKept: readWish(HangUpWish, 'countersign-on-hang-up', headers) === 'keep',
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
