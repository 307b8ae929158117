import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { body, json, text, type Operation } from './operation.ts';
import { LedgerPeriods, LedgerQuery, Quote, UsageDocument, UsageQuery } from './usage.schemas.ts';

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
  {
    id: 'getLedger',
    method: 'get',
    path: '/v1/ledger',
    tag: 'Usage',
    summary: "Get the entries of the tenant's ledger in a month",
    description:
      'One line for each job with a price that ended in the month: `charge`, or `release` for one that costs nothing. Amounts are millionths of the currency. In no order.',
    scope: 'read_all',
    query: LedgerQuery,
    success: { '200': text('the entries, as JSON Lines or CSV', 'application/x-ndjson') },
    errors: ['request_invalid', 'blob_missing'],
  },
  {
    id: 'listLedgerPeriods',
    method: 'get',
    path: '/v1/ledger/periods',
    tag: 'Usage',
    summary: "List the closed months of the tenant's ledger",
    description: 'A month is closed a day after its end, and never changes. Each comes with its signed statement.',
    scope: 'read_all',
    success: { '200': json('the closed months', 'LedgerPeriods', LedgerPeriods) },
    errors: [],
  },
];
