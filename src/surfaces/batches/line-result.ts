import type { CodedError } from '../../ground/errors/coded-error.ts';
import type { Done } from '../openai/answers.ts';
import { openAiError } from '../openai/openai-error.ts';

/** What became of a line of a batch. */
export interface LineResult {
  readonly isError: boolean;
  /** Payloads of the verdicts of its jobs: the leaves of the batch's tree. */
  readonly leaves: readonly Buffer[];
  /** Tokens read and written. */
  readonly usage: readonly [input: number, output: number];
  /** The line of the output or error file, in OpenAI's shape. */
  readonly line: object;
}

/** Why lines are not run any more. */
export const STOP_REASONS = ['cancelled', 'expired', 'disabled', 'revoked'] as const;
export type StopReason = (typeof STOP_REASONS)[number];

const UNRUN = {
  expired: 'This request could not be run before the completion window was over.',
  cancelled: 'The batch was cancelled before this request was done.',
  disabled: 'The tenant was disabled before this request was done.',
  revoked: 'The API key of the batch was revoked before this request was done.',
} as const satisfies Record<StopReason, string>;

/** Which line a result is about. */
export interface LineRef {
  /** Id of the request, made of the batch and the number of the line. */
  readonly id: string;
  readonly customId: string;
}

export function lineRef(batchId: string, number: number, customId: string): LineRef {
  return { id: `batch_req_${batchId.slice('batch_'.length)}${number.toString().padStart(6, '0')}`, customId };
}

/** A line whose jobs are done; `body` is the answer in the shape of the endpoint. */
export function answeredLine({ id, customId }: LineRef, done: readonly Done[], body: object): LineResult {
  return {
    isError: false,
    leaves: done.map(({ verdict }) => verdict),
    usage: [
      done.reduce((sum, { usage }) => sum + usage.inputTokens, 0),
      done.reduce((sum, { usage }) => sum + usage.outputTokens, 0),
    ],
    line: {
      id,
      custom_id: customId,
      response: { status_code: 200, request_id: done[0]?.id ?? id, body },
      error: null,
    },
  };
}

/**
 * A line that was refused, or of which a job was not confirmed. What its other jobs answered is in it,
 * because they are paid for.
 */
export function failedLine({ id, customId }: LineRef, error: CodedError, done: readonly Done[] = []): LineResult {
  return errorLine({
    id,
    custom_id: customId,
    response: {
      status_code: error.status,
      request_id: error.headers['countersign-job'] ?? id,
      body: openAiError(error),
    },
    error: null,
    ...doneOf(done),
  });
}

/** A line that was not done when its batch was stopped. */
export function unrunLine({ id, customId }: LineRef, why: StopReason, done: readonly Done[] = []): LineResult {
  return errorLine({
    id,
    custom_id: customId,
    response: null,
    error: { code: `batch_${why}`, message: UNRUN[why] },
    ...doneOf(done),
  });
}

/** A line whose stored answer can no longer be read. */
export function lostLine(customId: string): LineResult {
  return errorLine({
    id: null,
    custom_id: customId,
    response: null,
    error: { code: 'answer_lost', message: 'The stored answer to this request can no longer be read.' },
  });
}

function doneOf(done: readonly Done[]): object {
  if (done.length === 0) return {};
  return { countersign: { done: done.map(({ id: job_id, output, usage }) => ({ job_id, output, usage })) } };
}

function errorLine(line: object): LineResult {
  return { isError: true, leaves: [], usage: [0, 0], line };
}
