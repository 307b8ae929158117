import { setTimeout as pause } from 'node:timers/promises';
import type { z } from 'zod';
import { EngineError } from '../../core/engines/engine.ts';
import { InferenceServer, serverSentData } from '../../core/engines/inference-server.ts';
import { ServerAnswer } from '../../core/engines/server-answer.ts';
import type { Secret } from '../../ground/config/secret.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import type { FinishReason, Usage } from '../../proof/receipts/fields.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import { inputOf, type AuditQuestion } from './questions.ts';

/** Of one answer, with all that stands around it; an honest one has a hundredth of that. */
const MOST_BYTES = 16 * 1_048_576;
/** An endpoint that says that it has too much to do is asked again so often. */
const TRIES = 4;

export type ChatOutput = z.infer<(typeof OUTPUTS)['chat']>;

/** What an endpoint answered. */
export interface EndpointAnswer {
  readonly text: string;
  /** Whether the model said something before its text, which is not part of it. */
  readonly hasReasoning: boolean;
  readonly finishReason: FinishReason;
  /** As the endpoint counts; 0 where it does not. */
  readonly usage: Usage;
  /** The ids of its tokens, where it tells them. */
  readonly ids: readonly number[] | undefined;
  /** The texts of its tokens, where it tells them. */
  readonly pieces: readonly string[] | undefined;
}

/** Ways to ask for the tokens of an answer, the one that tells most first. */
const ASKS = [{ return_token_ids: true, logprobs: true }, { logprobs: true }, {}] as const;

/**
 * One OpenAI-compatible server under audit, or beside it. Each request is bounded in time and bytes, and goes
 * to the address that was named and to no other: redirects are refused, since they would carry the key along.
 */
export class ModelEndpoint {
  readonly model: string;
  readonly #server: InferenceServer;
  readonly #timeoutMs: number;
  /** Which of `ASKS` this server takes; the first that it does not refuse. */
  #ask = 0;

  constructor(url: string, model: string, key: Secret | undefined, timeoutMs: number) {
    this.model = model;
    this.#server = new InferenceServer(url, key);
    this.#timeoutMs = timeoutMs;
  }

  /** One request, of which no more is read than an answer can have. Throws EngineError. */
  readonly post = async (path: string, body: object, signal: AbortSignal): Promise<Response> => {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]);
    for (let tried = 1; ; tried += 1) {
      try {
        return bounded(await this.#server.send(path, body, inTime));
      } catch (error) {
        if (!(error instanceof EngineError && error.code === 'engine_overloaded') || tried === TRIES) throw error;
        await pause(growingPause(tried), undefined, { signal: inTime });
      }
    }
  };

  /** The answer to a question, with its tokens as far as the endpoint tells them. Throws EngineError. */
  async answer(question: AuditQuestion, signal: AbortSignal): Promise<EndpointAnswer> {
    for (;;) {
      const asked = this.#ask;
      try {
        return await this.#answer(question, ASKS[asked] ?? {}, signal);
      } catch (error) {
        // Some servers refuse a parameter that they do not know; another lane may have found that out
        // already.
        if (!(error instanceof EngineError && error.code === 'engine_refused') || asked === ASKS.length - 1)
          throw error;
        this.#ask = Math.max(this.#ask, asked + 1);
      }
    }
  }

  /** The output of a chat that asks for more than text. Throws EngineError. */
  async chat(body: object, signal: AbortSignal): Promise<ChatOutput> {
    const { output } = await this.#read('/v1/chat/completions', body, true, signal);
    return OUTPUTS.chat.parse(output);
  }

  async #answer(question: AuditQuestion, ask: (typeof ASKS)[number], signal: AbortSignal): Promise<EndpointAnswer> {
    const isChat = question.task === 'chat';
    const { return_token_ids: ids } = { return_token_ids: false, ...ask };
    // Completions have log-probabilities of another shape, whose pieces nobody needs where there are ids.
    const told = isChat ? ask : ids ? { return_token_ids: true } : {};
    const { seed, temperature, maxTokens } = question;
    const body = { ...inputOf(question), max_tokens: maxTokens, temperature, top_p: 1, seed, ...told };
    const path = isChat ? '/v1/chat/completions' : '/v1/completions';
    const { output, tokens, usage, finishReason } = await this.#read(path, body, isChat, signal);
    const answered = isChat ? chatAnswer(OUTPUTS.chat.parse(output)) : { text: OUTPUTS.completion.parse(output).text };
    return {
      hasReasoning: false,
      pieces: undefined,
      ...answered,
      finishReason,
      usage,
      ids: tokens.length === 0 ? undefined : tokens,
    };
  }

  async #read(path: string, body: object, isChat: boolean, signal: AbortSignal) {
    const streamed = { model: this.model, ...body, stream: true, stream_options: { include_usage: true } };
    const answer = new ServerAnswer(isChat);
    for await (const data of serverSentData(await this.post(path, streamed, signal))) {
      if (data === '[DONE]') break;
      answer.add(data);
    }
    const { output, tokens = [], usage, finishReason } = answer.result({ reasoning: true, tokens: true });
    const parsed: unknown = JSON.parse(output);
    return { output: parsed, tokens, usage, finishReason };
  }
}

function chatAnswer({ message, logprobs }: ChatOutput) {
  const pieces = logprobs?.content.map(({ token }) => token) ?? [];
  return {
    text: message.content ?? '',
    hasReasoning: message.reasoning_content !== undefined,
    pieces: pieces.length === 0 ? undefined : pieces,
  };
}

/** A response that fails once it is longer than an answer may be. */
function bounded(response: Response): Response {
  let bytes = 0;
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, controller) {
      bytes += piece.length;
      if (bytes > MOST_BYTES)
        controller.error(new EngineError('engine_error', 'The server sent more than an answer may have.'));
      else controller.enqueue(piece);
    },
  });
  return new Response(response.body?.pipeThrough(counter) ?? null, response);
}
