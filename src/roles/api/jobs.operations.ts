import { z } from 'zod';
import { CancelAnswer, JobDocument } from '../../proof/contract/job-document.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { ReceiptFile } from '../../proof/receipts/receipt.ts';
import { JobList, JobOutput, ListJobs } from './jobs.schemas.ts';
import { PAYMENT_ERRORS, WITHHELD_ERRORS, body, events, inPath, json, text, type Operation } from './operation.ts';
import { PaymentDocument } from './payment-document.ts';
import { IdempotencyKey, JobEventId, PaymentSignature, PreferWait } from './request-headers.ts';

const parameters = inPath('id', 'the id of a job', 'job_q8e101jb3c8p5v7x2m4n6q8r0s1t3w');

export const JOB_OPERATIONS: readonly Operation[] = [
  {
    id: 'submitJob',
    method: 'post',
    path: '/v1/jobs',
    tag: 'Jobs',
    summary: 'Submit a job',
    description: 'A job that is answered with 202 is kept until it reaches a final state.',
    scope: 'submit',
    isPayable: true,
    headers: z.strictObject({
      Prefer: PreferWait.optional(),
      'Idempotency-Key': IdempotencyKey.optional(),
      'Payment-Signature': PaymentSignature.optional(),
    }),
    body: body('SubmitJob', SubmitJob, {
      model: 'kjv-1m',
      task: 'completion',
      input: { prompt: 'And God said' },
      params: { max_tokens: 16 },
      attestation: { recompute: 1 },
    }),
    success: {
      '202': json('accepted; `Location` names the job', 'Job', JobDocument),
      '200': json('final within the time of `Prefer: wait`', 'Job', JobDocument),
    },
    errors: [
      'request_invalid',
      'body_not_json',
      'body_too_large',
      'media_type_unsupported',
      'model_not_found',
      'task_not_supported',
      'idempotency_key_reused',
      'attestation_unavailable',
      ...PAYMENT_ERRORS,
    ],
  },
  {
    id: 'listJobs',
    method: 'get',
    path: '/v1/jobs',
    tag: 'Jobs',
    summary: "List the tenant's kept jobs, newest first",
    scope: 'read',
    query: ListJobs,
    success: { '200': json('a page; `next_cursor` is null on the last one', 'JobList', JobList) },
    errors: ['request_invalid'],
  },
  {
    id: 'getJob',
    method: 'get',
    path: '/v1/jobs/{id}',
    tag: 'Jobs',
    summary: 'Get a job',
    scope: 'read',
    parameters,
    headers: z.strictObject({ Prefer: PreferWait.optional() }),
    success: { '200': json('the job', 'Job', JobDocument) },
    errors: ['job_not_found'],
  },
  {
    id: 'cancelJob',
    method: 'post',
    path: '/v1/jobs/{id}/cancel',
    tag: 'Jobs',
    summary: 'Ask for a job to be stopped',
    description: 'The job is cancelled only when no worker runs it any more.',
    scope: 'submit',
    parameters,
    success: {
      '200': json('the job is final', 'CancelAnswer', CancelAnswer),
      '202': json('its worker has not stopped yet', 'CancelAnswer', CancelAnswer),
    },
    errors: ['job_not_found'],
  },
  {
    id: 'getJobOutput',
    method: 'get',
    path: '/v1/jobs/{id}/output',
    tag: 'Jobs',
    summary: 'Get the confirmed output',
    scope: 'read',
    parameters,
    success: { '200': json('the bytes whose digest stands in the receipt', 'JobOutput', JobOutput) },
    errors: ['job_not_found', 'job_not_done', ...WITHHELD_ERRORS],
  },
  {
    id: 'getJobReceipt',
    method: 'get',
    path: '/v1/jobs/{id}/receipt',
    tag: 'Jobs',
    summary: 'Get the receipt, which anyone can check offline',
    scope: 'read',
    parameters,
    success: { '200': json('as docs/receipt-format.md specifies it', 'Receipt', ReceiptFile) },
    errors: ['job_not_found', 'job_not_done', ...WITHHELD_ERRORS],
  },
  {
    id: 'getJobPayment',
    method: 'get',
    path: '/v1/jobs/{id}/payment',
    tag: 'Jobs',
    summary: 'Get the payment of a job that was paid for by itself (x402)',
    scope: 'read',
    parameters,
    success: { '200': json('its state, and the transaction once there is one', 'Payment', PaymentDocument) },
    errors: ['job_not_found', 'payment_not_found'],
  },
  {
    id: 'streamJobEvents',
    method: 'get',
    path: '/v1/jobs/{id}/events',
    tag: 'Jobs',
    summary: 'Follow a job',
    description: 'Server-sent events: its states, and provisional output as it is written.',
    scope: 'read',
    parameters,
    headers: z.strictObject({ 'Last-Event-ID': JobEventId.optional() }),
    success: {
      '200': events('events `state` and `chunk`'),
      '204': text('the job is over, and the last of its events was seen: there is nothing to come back for'),
    },
    errors: ['job_not_found', 'too_many_streams'],
  },
];
