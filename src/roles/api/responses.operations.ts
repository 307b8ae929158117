import { z } from 'zod';
import { DeletedResponse, ResponseDocument } from '../../surfaces/openai/response-document.ts';
import { ResponseRequest } from '../../surfaces/openai/response-request.ts';
import { OPENAI_ERRORS, body, events, inPath, json, type Operation } from './operation.ts';
import { IdempotencyKey, OwnerInHeader } from './request-headers.ts';
import { GetResponse } from './responses.schemas.ts';

const streamed = events('events named by their type');
const parameters = inPath('response', 'the id of a response', 'resp_01jb3c8p5v7x2m4n6q8r0s1t3w');

export const RESPONSE_OPERATIONS: readonly Operation[] = [
  {
    id: 'createResponse',
    method: 'post',
    path: '/v1/responses',
    tag: 'Responses',
    summary: 'Create a response',
    description: 'Answered when it is confirmed, at once with `background`, or as a stream of events with `stream`.',
    scope: 'submit',
    headers: z.strictObject({
      'Idempotency-Key': IdempotencyKey.optional(),
      'Countersign-Memory': OwnerInHeader.optional(),
    }),
    body: body('ResponseRequest', ResponseRequest, { model: 'kjv-1m', input: 'In the beginning', background: true }),
    success: { '200': json('the response; `completed` means confirmed', 'Response', ResponseDocument) },
    streamed,
    errors: [...OPENAI_ERRORS, 'memory_unavailable'],
  },
  {
    id: 'getResponse',
    method: 'get',
    path: '/v1/responses/{response}',
    tag: 'Responses',
    summary: 'Get a response as it is now',
    description: 'With `stream=true`, its events after `starting_after`.',
    scope: 'read',
    parameters,
    query: GetResponse,
    success: { '200': json('the response', 'Response', ResponseDocument) },
    streamed,
    errors: ['request_invalid', 'response_not_found', 'erased', 'too_many_streams'],
  },
  {
    id: 'cancelResponse',
    method: 'post',
    path: '/v1/responses/{response}/cancel',
    tag: 'Responses',
    summary: 'Stop a response',
    scope: 'submit',
    parameters,
    success: { '200': json('the response', 'Response', ResponseDocument) },
    errors: ['response_not_found', 'erased'],
  },
  {
    id: 'deleteResponse',
    method: 'delete',
    path: '/v1/responses/{response}',
    tag: 'Responses',
    summary: 'Erase a response that is over',
    description: 'It erases the job of the response; see `DELETE /v1/jobs/{id}`.',
    scope: 'submit',
    parameters,
    success: { '200': json('it is erased', 'DeletedResponse', DeletedResponse) },
    errors: ['response_not_found', 'job_not_ended'],
  },
];
