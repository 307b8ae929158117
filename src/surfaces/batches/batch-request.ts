import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { requireNoMemory } from '../memory/memory-wish.ts';
import type { AnswerDocument } from '../openai/answer-document.ts';
import { answerOf, type Done } from '../openai/answers.ts';
import { tierOf } from '../openai/service-tier.ts';
import { parseRequest } from '../openai/parse-request.ts';
import { ENDPOINTS, readRequest } from '../openai/requests.ts';
import { responseDocument, type ResponseDocument } from '../openai/response-document.ts';
import { ResponseRequest, jobOf } from '../openai/response-request.ts';

/** The endpoints that batches may call. */
export const BATCH_ENDPOINTS = [...ENDPOINTS, '/v1/responses'] as const;
export type BatchEndpoint = (typeof BATCH_ENDPOINTS)[number];

/** What a line asks for: its jobs, and how their answers become that of the endpoint. */
export interface BatchRequest {
  readonly jobs: readonly SubmitJob[];
  /** What the surface keeps with the job, if its answer can be retrieved again by its id. */
  readonly surface: string | undefined;
  /** The answer in the shape of the endpoint. Throws if there are not as many answers as jobs. */
  readonly answer: (done: readonly Done[]) => AnswerDocument | ResponseDocument;
}

/** Parses the body of a line. Throws CodedError `request_invalid`, which names the parameter at fault. */
export function readBatchRequest(endpoint: BatchEndpoint, body: unknown): BatchRequest {
  if (endpoint === '/v1/responses') return readResponse(body);
  const asked = readRequest(endpoint, body);
  if (asked.isStreamed) throw refusal('stream');
  requireNoMemory(asked.memory, 'in a batch');
  // The answer is made long after the jobs were submitted: their prompts need not be kept for it.
  const shape = { ...asked, jobs: [], tier: asked.tier === undefined ? undefined : SERVED };
  return { jobs: asked.jobs, surface: undefined, answer: (done) => answerOf(shape, done) };
}

function readResponse(body: unknown): BatchRequest {
  const request = parseRequest(ResponseRequest, body);
  if (request.stream === true) throw refusal('stream');
  if (request.background === true) throw refusal('background');
  requireNoMemory(request.memory, 'in a batch');
  const { job, surface: said } = jobOf(request);
  const surface = { ...said, service_tier: SERVED };
  const { model } = job;
  return {
    jobs: [job],
    surface: JSON.stringify(surface),
    answer([done]) {
      if (done === undefined) throw new Error('A response is made of one job.');
      const { id, createdMs } = done;
      return responseDocument({ id, createdMs, model, state: 'done', ending: undefined }, surface, done);
    },
  };
}

/** Lines wait in the band of batches, whatever they ask for. */
const SERVED = tierOf('batch');

const refusal = (param: 'stream' | 'background') =>
  new CodedError('request_invalid', `${param}: not available in a batch, which answers later and all at once.`, {
    param,
  });
