import { z } from 'zod';
import type { ErrorCode } from '../../ground/errors/catalog.ts';
import { ChatRequest, CompletionRequest, EmbeddingRequest } from '../../surfaces/openai/requests.ts';
import { CreateBatch, ListBatches } from './batches.controller.ts';
import { ChangeTenant, CreateKey, CreateTenant, ListAudit, RotateKey } from './admin.controller.ts';
import { UsageQuery } from './usage.controller.ts';
import { ChangeWebhook, CreateWebhook, ListDeliveries, RotateSecret } from './webhooks.controller.ts';
import { ResponseRequest } from '../../surfaces/openai/response-request.ts';
import { GetResponse } from './responses.controller.ts';
import { ListFiles } from './files.controller.ts';
import { JobDocument } from '../../proof/contract/job-document.ts';
import { PaymentDocument } from './payment-document.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { ListJobs } from './list-jobs.ts';

/**
 * Every route: what it takes, answers and refuses, from the schemas that check the requests. Tests compare this table with the routes
 * that the server really has, and its schemas with real answers.
 */
export interface Operation {
  readonly method: 'get' | 'post' | 'patch' | 'delete';
  readonly path: string;
  readonly summary: string;
  readonly scope: 'submit' | 'read' | 'admin' | null;
  readonly query?: z.ZodObject;
  readonly headers?: readonly { name: string; description: string }[];
  readonly body?: z.ZodType;
  readonly success: Readonly<Record<string, { description: string; type: string; schema?: z.ZodType }>>;
  readonly errors: readonly ErrorCode[];
}

const PREFER = {
  name: 'Prefer',
  description: '`wait=N`: answer when the job is final, at the latest after N (up to 60) seconds',
};
/** For whoever has no API key, where the operator sells by the request (x402). */
const PAYMENT = {
  name: 'Payment-Signature',
  description: 'instead of an API key: a payment by x402 for this one answer, on the terms of `PAYMENT-REQUIRED`',
};
const PAYMENT_ERRORS = [
  'payment_required',
  'payment_used',
  'payment_unverified',
] as const satisfies readonly ErrorCode[];
const WITHHELD_ERRORS = ['payment_failed', 'payment_pending'] as const satisfies readonly ErrorCode[];
const OPENAI_HEADERS = [
  { name: 'Idempotency-Key', description: 'the same key with the same body answers with the same job, for a day' },
  {
    name: 'Countersign-Answer',
    description: '`confirmed` (default), or `provisional`: answer as soon as a worker has, with state `attesting`',
  },
  {
    name: 'Countersign-On-Hang-Up',
    description: '`cancel` (default) the job when the caller hangs up, or `keep` it',
  },
  PAYMENT,
];
const OPENAI_ERRORS = [
  'request_invalid',
  'body_not_json',
  'body_too_large',
  'media_type_unsupported',
  'model_not_found',
  'task_not_supported',
  'feature_not_supported',
  'idempotency_key_reused',
  'attestation_unavailable',
  'answer_refuted',
  'job_failed',
  'job_expired',
  'job_cancelled',
  'too_many_streams',
] as const satisfies readonly ErrorCode[];
export const JSON_TYPE = 'application/json';

export const CancelAnswer = z.strictObject({
  outcome: z.enum(['cancelled', 'stopping', 'already_final', 'ended_first']),
  job: JobDocument,
});
export const JobList = z.strictObject({ jobs: z.array(JobDocument), next_cursor: z.string().nullable() });
const Anything = z.looseObject({});
const Ready = z.strictObject({
  ready: z.boolean(),
  redis: z.boolean(),
  workers: z.number(),
  attestors: z.number(),
  detail: z.string(),
});

const ok = (description: string, schema: z.ZodType, type = JSON_TYPE) => ({ description, type, schema });

export const OPERATIONS: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/jobs',
    summary: 'Submit a job. A job that is answered 202 is kept until it reaches a final state.',
    scope: 'submit',
    headers: [
      PREFER,
      { name: 'Idempotency-Key', description: 'the same key with the same body answers with the same job, for a day' },
      PAYMENT,
    ],
    body: SubmitJob,
    success: {
      '202': ok('accepted; `Location` names the job', JobDocument),
      '200': ok('final within the time of `Prefer: wait`', JobDocument),
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
    method: 'get',
    path: '/v1/jobs',
    summary: "List the tenant's kept jobs, newest first.",
    scope: 'read',
    query: ListJobs,
    success: { '200': ok('a page; `next_cursor` is null at the end', JobList) },
    errors: ['request_invalid'],
  },
  {
    method: 'get',
    path: '/v1/jobs/{id}',
    summary: 'A job as its documents show it.',
    scope: 'read',
    headers: [PREFER],
    success: { '200': ok('the job', JobDocument) },
    errors: ['job_not_found'],
  },
  {
    method: 'post',
    path: '/v1/jobs/{id}/cancel',
    summary: 'Ask for a job to be stopped. It is cancelled only when no worker runs it any more.',
    scope: 'submit',
    success: { '200': ok('final now', CancelAnswer), '202': ok('its worker has not stopped yet', CancelAnswer) },
    errors: ['job_not_found'],
  },
  {
    method: 'get',
    path: '/v1/jobs/{id}/output',
    summary: 'The confirmed output.',
    scope: 'read',
    success: { '200': ok('the bytes that the receipt names', Anything) },
    errors: ['job_not_found', 'job_not_done', ...WITHHELD_ERRORS],
  },
  {
    method: 'get',
    path: '/v1/jobs/{id}/receipt',
    summary: 'The receipt, which anyone can check offline.',
    scope: 'read',
    success: { '200': ok('see docs/receipt-format.md', Anything) },
    errors: ['job_not_found', 'job_not_done', ...WITHHELD_ERRORS],
  },
  {
    method: 'get',
    path: '/v1/jobs/{id}/payment',
    summary: 'What became of the payment of a job that was paid for by itself (x402).',
    scope: 'read',
    success: { '200': ok('its state, and the transaction once there is one', PaymentDocument) },
    errors: ['job_not_found', 'payment_not_found'],
  },
  {
    method: 'get',
    path: '/v1/jobs/{id}/events',
    summary: 'Server-sent events: states, and provisional output as it is written.',
    scope: 'read',
    headers: [{ name: 'Last-Event-ID', description: 'go on after this event' }],
    success: { '200': { description: 'events `state` and `chunk`', type: 'text/event-stream' } },
    errors: ['job_not_found', 'too_many_streams'],
  },
  {
    method: 'post',
    path: '/v1/chat/completions',
    summary:
      'A chat completion in the shape of OpenAI, answered when it is confirmed. With `stream`, pieces are provisional until the last frame of their choice, which comes after the verdict and names the receipt.',
    scope: 'submit',
    headers: OPENAI_HEADERS,
    body: ChatRequest,
    success: { '200': ok('the confirmed answer, with `countersign`; or `chat.completion.chunk` events', Anything) },
    errors: [...OPENAI_ERRORS, ...PAYMENT_ERRORS, ...WITHHELD_ERRORS],
  },
  {
    method: 'post',
    path: '/v1/completions',
    summary: 'A text completion in the shape of OpenAI, answered when it is confirmed; streams like a chat.',
    scope: 'submit',
    headers: OPENAI_HEADERS,
    body: CompletionRequest,
    success: { '200': ok('the confirmed answer, with `countersign`', Anything) },
    errors: [...OPENAI_ERRORS, ...PAYMENT_ERRORS, ...WITHHELD_ERRORS],
  },
  {
    method: 'post',
    path: '/v1/embeddings',
    summary: 'Embeddings in the shape of OpenAI, answered when they are confirmed.',
    scope: 'submit',
    headers: OPENAI_HEADERS,
    body: EmbeddingRequest,
    success: { '200': ok('the confirmed vectors, with `countersign`', Anything) },
    errors: [...OPENAI_ERRORS, ...PAYMENT_ERRORS, ...WITHHELD_ERRORS],
  },
  {
    method: 'post',
    path: '/v1/files',
    summary: 'Upload the lines of a batch, up to 200 MB, as multipart/form-data with `purpose` = `batch`.',
    scope: 'submit',
    success: { '200': ok('the file, kept for 30 days', Anything) },
    errors: ['request_invalid', 'media_type_unsupported', 'body_too_large', 'too_many_files'],
  },
  {
    method: 'get',
    path: '/v1/files',
    summary: "The tenant's files, newest first.",
    scope: 'read',
    query: ListFiles,
    success: { '200': ok('a page', Anything) },
    errors: ['request_invalid', 'file_not_found'],
  },
  {
    method: 'get',
    path: '/v1/files/{id}',
    summary: 'A file.',
    scope: 'read',
    success: { '200': ok('the file', Anything) },
    errors: ['file_not_found'],
  },
  {
    method: 'get',
    path: '/v1/files/{id}/content',
    summary: 'What is in a file.',
    scope: 'read',
    success: { '200': ok('the bytes', z.string(), 'application/octet-stream') },
    errors: ['file_not_found'],
  },
  {
    method: 'delete',
    path: '/v1/files/{id}',
    summary: 'Forget a file.',
    scope: 'submit',
    success: { '200': ok('it is gone', Anything) },
    errors: ['file_not_found'],
  },
  {
    method: 'post',
    path: '/v1/batches',
    summary: 'Run every line of a file, behind interactive work, within a day.',
    scope: 'submit',
    body: CreateBatch,
    success: { '200': ok('the batch; `countersign.receipts_root` once it is over', Anything) },
    errors: ['request_invalid', 'file_not_found', 'too_many_batches'],
  },
  {
    method: 'get',
    path: '/v1/batches',
    summary: "The tenant's batches, newest first.",
    scope: 'read',
    query: ListBatches,
    success: { '200': ok('a page', Anything) },
    errors: ['request_invalid', 'batch_not_found'],
  },
  {
    method: 'get',
    path: '/v1/batches/{id}',
    summary: 'A batch.',
    scope: 'read',
    success: { '200': ok('the batch', Anything) },
    errors: ['batch_not_found'],
  },
  {
    method: 'post',
    path: '/v1/batches/{id}/cancel',
    summary: 'Stop a batch; what is finished is kept.',
    scope: 'submit',
    success: { '200': ok('the batch', Anything) },
    errors: ['batch_not_found', 'batch_over'],
  },
  {
    method: 'get',
    path: '/v1/events',
    summary: 'Server-sent events of all jobs and batches of the tenant. Each is told at least once.',
    scope: 'read',
    headers: [{ name: 'Last-Event-ID', description: 'go on after this event' }],
    success: { '200': { description: 'events named by their type', type: 'text/event-stream' } },
    errors: ['request_invalid', 'too_many_streams'],
  },
  {
    method: 'post',
    path: '/v1/webhooks',
    summary: 'Tell an address of events, signed as Standard Webhooks 1.0.0 says.',
    scope: 'submit',
    body: CreateWebhook,
    success: { '201': ok('the endpoint', Anything) },
    errors: ['request_invalid', 'webhook_refused', 'too_many_webhooks'],
  },
  {
    method: 'get',
    path: '/v1/webhooks',
    summary: 'The endpoints of the tenant.',
    scope: 'read',
    success: { '200': ok('the endpoints', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/v1/webhooks/default/secret',
    summary: 'The secret of addresses that are given with a job.',
    scope: 'submit',
    success: { '200': ok('the secret and the public key', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/v1/webhooks/{webhook}',
    summary: 'An endpoint.',
    scope: 'read',
    success: { '200': ok('the endpoint', Anything) },
    errors: ['webhook_not_found'],
  },
  {
    method: 'get',
    path: '/v1/webhooks/{webhook}/secret',
    summary: 'The secret that signs now, and the public key.',
    scope: 'submit',
    success: { '200': ok('both', Anything) },
    errors: ['webhook_not_found'],
  },
  {
    method: 'patch',
    path: '/v1/webhooks/{webhook}',
    summary: 'Change an endpoint; `disabled: false` enables it again.',
    scope: 'submit',
    body: ChangeWebhook,
    success: { '200': ok('the endpoint', Anything) },
    errors: ['request_invalid', 'webhook_not_found', 'webhook_refused'],
  },
  {
    method: 'delete',
    path: '/v1/webhooks/{webhook}',
    summary: 'Delete an endpoint.',
    scope: 'submit',
    success: { '200': ok('it is gone', Anything) },
    errors: ['webhook_not_found'],
  },
  {
    method: 'post',
    path: '/v1/webhooks/{webhook}/rotate',
    summary: 'A new secret; the old one signs too until the overlap is over.',
    scope: 'submit',
    body: RotateSecret,
    success: { '200': ok('the endpoint with its new secret', Anything) },
    errors: ['request_invalid', 'webhook_not_found'],
  },
  {
    method: 'post',
    path: '/v1/webhooks/{webhook}/test',
    summary: 'Send a message of the type `webhook.test`.',
    scope: 'submit',
    success: { '202': ok('the message', Anything) },
    errors: ['webhook_not_found'],
  },
  {
    method: 'get',
    path: '/v1/webhooks/{webhook}/deliveries',
    summary: 'The newest messages and what became of them; `job` stands for addresses given with jobs.',
    scope: 'read',
    query: ListDeliveries,
    success: { '200': ok('the messages', Anything) },
    errors: ['webhook_not_found'],
  },
  {
    method: 'post',
    path: '/v1/deliveries/{delivery}/redeliver',
    summary: 'Send a message again, under the same id.',
    scope: 'submit',
    success: { '202': ok('the message', Anything) },
    errors: ['delivery_not_found'],
  },
  {
    method: 'post',
    path: '/v1/quote',
    summary: 'What a job would cost, how long it would wait, and whether it is possible. Nothing is kept.',
    scope: 'submit',
    body: SubmitJob,
    success: { '200': ok('the quote', Anything) },
    errors: ['request_invalid', 'body_not_json'],
  },
  {
    method: 'get',
    path: '/v1/usage',
    summary: 'Jobs, tokens and charges of the tenant, by day, key or model.',
    scope: 'read',
    query: UsageQuery,
    success: { '200': ok('rows, and the account', Anything) },
    errors: ['request_invalid'],
  },
  {
    method: 'post',
    path: '/v1/admin/tenants',
    summary: 'Make a tenant.',
    scope: 'admin',
    body: CreateTenant,
    success: { '201': ok('the tenant', Anything) },
    errors: ['request_invalid', 'tenant_exists'],
  },
  {
    method: 'get',
    path: '/v1/admin/tenants',
    summary: 'All tenants.',
    scope: 'admin',
    success: { '200': ok('the tenants', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/v1/admin/tenants/{tenant}',
    summary: 'A tenant and its account.',
    scope: 'admin',
    success: { '200': ok('the tenant', Anything) },
    errors: ['tenant_not_found'],
  },
  {
    method: 'patch',
    path: '/v1/admin/tenants/{tenant}',
    summary: 'Change the limits of a tenant, or disable it.',
    scope: 'admin',
    body: ChangeTenant,
    success: { '200': ok('the tenant', Anything) },
    errors: ['request_invalid', 'tenant_not_found'],
  },
  {
    method: 'post',
    path: '/v1/admin/tenants/{tenant}/keys',
    summary: 'Make an API key; its text is shown once.',
    scope: 'admin',
    body: CreateKey,
    success: { '201': ok('the key', Anything) },
    errors: ['request_invalid', 'tenant_not_found'],
  },
  {
    method: 'get',
    path: '/v1/admin/tenants/{tenant}/keys',
    summary: 'Keys of a tenant, without secrets.',
    scope: 'admin',
    success: { '200': ok('the keys', Anything) },
    errors: ['tenant_not_found'],
  },
  {
    method: 'post',
    path: '/v1/admin/keys/{key}/rotate',
    summary: 'A new key like this one, which works on until the overlap is over.',
    scope: 'admin',
    body: RotateKey,
    success: { '201': ok('the new key', Anything) },
    errors: ['request_invalid', 'key_not_found', 'key_over'],
  },
  {
    method: 'delete',
    path: '/v1/admin/keys/{key}',
    summary: 'Revoke a key; it stops working everywhere within seconds.',
    scope: 'admin',
    success: { '200': ok('the key', Anything) },
    errors: ['key_not_found'],
  },
  {
    method: 'get',
    path: '/v1/admin/audit',
    summary: 'Who changed what about tenants and keys, newest first.',
    scope: 'admin',
    query: ListAudit,
    success: { '200': ok('the entries', Anything) },
    errors: ['request_invalid'],
  },
  {
    method: 'post',
    path: '/v1/responses',
    summary: 'A response in the shape of OpenAI: answered when confirmed, at once with `background`, or streamed.',
    scope: 'submit',
    body: ResponseRequest,
    success: { '200': ok('the response; `completed` means confirmed', Anything) },
    errors: OPENAI_ERRORS,
  },
  {
    method: 'get',
    path: '/v1/responses/{response}',
    summary: 'A response as it is now, or with `stream=true` its events after `starting_after`.',
    scope: 'read',
    query: GetResponse,
    success: { '200': ok('the response', Anything) },
    errors: ['request_invalid', 'response_not_found', 'too_many_streams'],
  },
  {
    method: 'post',
    path: '/v1/responses/{response}/cancel',
    summary: 'Stop a response.',
    scope: 'submit',
    success: { '200': ok('the response', Anything) },
    errors: ['response_not_found'],
  },
  {
    method: 'get',
    path: '/v1/models',
    summary: 'The models offered, and who serves them now.',
    scope: 'read',
    success: { '200': ok('the models', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/v1/models/{model}',
    summary: 'One model.',
    scope: 'read',
    success: { '200': ok('the model', Anything) },
    errors: ['model_not_found'],
  },
  {
    method: 'get',
    path: '/v1/workers',
    summary: 'Workers and attestors heard of lately.',
    scope: 'admin',
    success: { '200': ok('their announcements', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/.well-known/countersign.json',
    summary: 'The public keys with role and validity: save it as the keyring of `countersign verify`.',
    scope: null,
    success: { '200': ok('the keyring', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/log/checkpoint',
    summary: 'The newest checkpoint of the transparency log: a signed note (C2SP tlog-checkpoint).',
    scope: null,
    success: { '200': ok('the checkpoint', z.string(), 'text/plain') },
    errors: ['route_not_found'],
  },
  {
    method: 'get',
    path: '/log/documents',
    summary: 'Entries of the log that are no verdicts, with index and salt, and secrets of draws that are over.',
    scope: null,
    success: { '200': ok('documents and draws', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/log/tile/{path}',
    summary:
      'Tiles and entry bundles of the transparency log (C2SP tlog-tiles); each is checked up to the root before it is served.',
    scope: null,
    success: { '200': ok('the tile', z.string(), 'application/octet-stream') },
    errors: ['route_not_found', 'blob_missing'],
  },
  {
    method: 'get',
    path: '/health/live',
    summary: 'Whether the process answers.',
    scope: null,
    success: { '200': ok('it does', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/health/ready',
    summary: 'Whether a job sent now would be worked on and confirmed.',
    scope: null,
    success: { '200': ok('it would', Ready), '503': ok('it would wait', Ready) },
    errors: [],
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Prometheus metrics.',
    scope: null,
    success: { '200': { description: 'text format', type: 'text/plain' } },
    errors: [],
  },
  {
    method: 'get',
    path: '/docs',
    summary: 'This description for people.',
    scope: null,
    success: { '200': { description: 'a page', type: 'text/html' } },
    errors: [],
  },
  {
    method: 'get',
    path: '/docs/openapi.json',
    summary: 'This description.',
    scope: null,
    success: { '200': ok('OpenAPI 3.1', Anything) },
    errors: [],
  },
  {
    method: 'get',
    path: '/',
    summary: 'Points to the documentation.',
    scope: null,
    success: {},
    errors: ['route_not_found'],
  },
];
