import { CodedError } from '../../ground/errors/coded-error.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Usage } from '../../proof/receipts/fields.ts';
import { howConfirmed } from '../../proof/receipts/how-confirmed.ts';
import type { AnswerDocument, ChatCompletion, Confirmation, Countersigned, TextCompletion } from './answer-document.ts';
import type { EmbeddingList, Usage as TokenCounts } from './answer-document.ts';
import { TEXTS_OF_A_JOB, type Asked } from './requests.ts';
import type { Tier } from './service-tier.ts';

/** A job that is done, as far as an answer is made from it. */
export interface Done {
  readonly id: string;
  /** Its place among the choices that were asked for. */
  readonly index: number;
  readonly createdMs: number;
  readonly output: unknown;
  readonly usage: Usage;
  /** The payload of the verdict, as it was signed. */
  readonly verdict: Buffer;
}

/** A job that is done, read here: its output has so many bytes. */
export interface ReadDone extends Done {
  readonly bytes: number;
}

/** A job whose confirmation an answer speaks of; with the payload of its verdict where it is done. */
type Confirmed = Pick<Done, 'id'> & Partial<Pick<Done, 'index' | 'verdict'>>;

export function countersigned({ id, verdict }: Confirmed, state: Confirmation['state']): Confirmation {
  const isDone = state === 'done';
  return {
    job_id: id,
    state,
    receipt: isDone ? `/v1/jobs/${id}/receipt` : null,
    ...howConfirmed(isDone ? verdict : undefined),
  };
}

/** What stands beside text that no attestor has confirmed. */
export function provisional(job: string, state: Confirmation['state']): Countersigned {
  return { ...countersigned({ id: job }, state), provisional: true };
}

/**
 * What an answer says about the confirmation of all its jobs: of the first one, and of each where there are
 * several.
 */
export function countersignedAll(jobs: readonly Confirmed[], state: Confirmation['state']): Countersigned {
  const all = jobs.map((job) => countersigned(job, state));
  const [first] = all;
  if (first === undefined) throw new Error('An answer is made of at least one job.');
  return all.length === 1 && (jobs[0]?.index ?? 0) === 0
    ? first
    : { ...first, choices: all.map((one, at) => ({ index: jobs[at]?.index ?? at, ...one })) };
}

const ID_PREFIX = {
  '/v1/chat/completions': 'chatcmpl',
  '/v1/completions': 'cmpl',
  '/v1/embeddings': 'embd',
} as const;

export function answerId(asked: Pick<Asked, 'endpoint'>, firstJob: string): string {
  return `${ID_PREFIX[asked.endpoint]}-${firstJob.replace(/^job_/, '')}`;
}

/** The tier as it stands in an answer: where it was asked for. */
export function tierIn({ tier }: Pick<Asked, 'tier'>): { service_tier?: Tier } {
  return tier === undefined ? {} : { service_tier: tier };
}

export const seconds = (ms: number) => Math.floor(ms / 1_000);

/**
 * The answer to a request, in OpenAI's shape: every choice that is done. One whose job ended otherwise is
 * missing, and cost nothing; the others have the places that they would have beside it.
 */
export function answerOf(asked: Asked, done: readonly Done[]): AnswerDocument {
  const [first] = done;
  if (first === undefined) throw new Error('An answer is made of at least one job.');
  switch (asked.endpoint) {
    case '/v1/chat/completions':
      return chatCompletion(asked, first, done);
    case '/v1/completions':
      return textCompletion(asked, first, done);
    case '/v1/embeddings':
      return embeddingList(asked, done);
  }
}

function chatCompletion(asked: Asked, first: Done, done: readonly Done[]): ChatCompletion {
  return {
    id: answerId(asked, first.id),
    object: 'chat.completion',
    created: seconds(first.createdMs),
    model: asked.model,
    choices: done.map(({ output, index }) => {
      const { message, finish_reason, logprobs } = OUTPUTS.chat.parse(output);
      return { index, message: { ...message, refusal: null }, logprobs: logprobs ?? null, finish_reason };
    }),
    usage: usageOf(asked, done),
    ...tierIn(asked),
    countersign: countersignedAll(done, 'done'),
  };
}

function textCompletion(asked: Asked, first: Done, done: readonly Done[]): TextCompletion {
  return {
    id: answerId(asked, first.id),
    object: 'text_completion',
    created: seconds(first.createdMs),
    model: asked.model,
    choices: done.map(({ output, index }) => {
      const { text, finish_reason } = OUTPUTS.completion.parse(output);
      return { index, text, logprobs: null, finish_reason };
    }),
    usage: usageOf(asked, done),
    ...tierIn(asked),
    countersign: countersignedAll(done, 'done'),
  };
}

/** The vectors of all jobs, each with the place of its text. */
function embeddingList(asked: Asked, done: readonly Done[]): EmbeddingList {
  const vectors = done.flatMap(({ output, index }) =>
    OUTPUTS.embedding.parse(output).embeddings.map((vector, at) => ({ vector, index: index * TEXTS_OF_A_JOB + at })),
  );
  const { prompt_tokens, total_tokens } = usageOf(asked, done);
  return {
    object: 'list',
    model: asked.model,
    data: vectors.map(({ vector, index }) => ({ object: 'embedding', index, embedding: encode(asked, vector) })),
    usage: { prompt_tokens, total_tokens },
    countersign: countersignedAll(done, 'done'),
  };
}

/** Prompts are counted once, however many choices were drawn from each. */
export function usageOf(
  asked: Pick<Asked, 'choicesPerPrompt'>,
  done: readonly Pick<Done, 'index' | 'usage'>[],
): TokenCounts {
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
  const byPrompt = new Map(
    done.map(({ index, usage }) => [Math.floor(index / asked.choicesPerPrompt), usage.inputTokens]),
  );
  const prompt = sum([...byPrompt.values()]);
  const completion = sum(done.map(({ usage }) => usage.outputTokens));
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

/**
 * Fewer dimensions are the first ones of the confirmed vector, scaled to unit length again. The receipt is
 * about the whole vector, which the job's output holds.
 */
function encode({ encoding, dimensions }: Asked, whole: readonly number[]): number[] | string {
  if (dimensions !== undefined && dimensions > whole.length)
    throw new CodedError('request_invalid', `dimensions: the vectors of this model have only ${whole.length}.`, {
      param: 'dimensions',
    });
  const vector = dimensions === undefined ? [...whole] : unit(whole.slice(0, dimensions));
  return encoding === 'float' ? vector : Buffer.from(new Float32Array(vector).buffer).toString('base64');
}

/** By operations that IEEE 754 rounds in one way: whoever compares the answer gets the same numbers. */
function unit(vector: readonly number[]): number[] {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? [...vector] : vector.map((value) => value / length);
}
