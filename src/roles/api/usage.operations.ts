import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { body, json, type Operation } from './operation.ts';
import { Quote, UsageDocument, UsageQuery } from './usage.schemas.ts';

export const USAGE_OPERATIONS: readonly Operation[] = [
  {
    id: 'quoteJob',
    method: 'post',
    path: '/v1/quote',
    tag: 'Usage',
    summary: 'Ask what a job would cost',
    description: 'Also how long it would wait, and whether it is possible at all. Nothing is kept.',
    scope: 'submit',
    body: body('SubmitJob', SubmitJob, { model: 'kjv-1m', task: 'completion', input: { prompt: 'And God said' } }),
    success: { '200': json('the quote', 'Quote', Quote) },
    errors: ['request_invalid', 'body_not_json'],
  },
  {
    id: 'getUsage',
    method: 'get',
    path: '/v1/usage',
    tag: 'Usage',
    summary: 'Get jobs, tokens and charges of the tenant, by day, key or model',
    scope: 'read',
    query: UsageQuery,
    success: { '200': json('the rows, and the account', 'Usage', UsageDocument) },
    errors: ['request_invalid'],
  },
];
