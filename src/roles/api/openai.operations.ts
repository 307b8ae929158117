import { z } from 'zod';
import {
  ChatCompletion,
  CompletionChunk,
  EmbeddingList,
  TextCompletion,
} from '../../surfaces/openai/answer-document.ts';
import { ChatRequest, CompletionRequest, EmbeddingRequest } from '../../surfaces/openai/requests.ts';
import {
  LIMIT_ERRORS,
  OPENAI_ERRORS,
  PAYMENT_ERRORS,
  WITHHELD_ERRORS,
  body,
  events,
  json,
  type Operation,
} from './operation.ts';
import { AnswerWish, HangUpWish, IdempotencyKey, OwnerInHeader, PaymentSignature } from './request-headers.ts';

const headers = z.strictObject({
  'Idempotency-Key': IdempotencyKey.optional(),
  'Countersign-Answer': AnswerWish,
  'Countersign-On-Hang-Up': HangUpWish,
  'Countersign-Memory': OwnerInHeader.optional(),
  'Payment-Signature': PaymentSignature.optional(),
});
const streamed = events('frames of the answer', 'CompletionChunk', CompletionChunk);
const errors = [
  ...OPENAI_ERRORS,
  'memory_unavailable' as const,
  ...LIMIT_ERRORS,
  ...PAYMENT_ERRORS,
  ...WITHHELD_ERRORS,
];

export const OPENAI_OPERATIONS: readonly Operation[] = [
  {
    id: 'createChatCompletion',
    method: 'post',
    path: '/v1/chat/completions',
    tag: 'OpenAI',
    summary: 'Create a chat completion',
    description:
      'Answered when it is confirmed. With `stream`, the answer comes in frames; ' +
      'pieces are provisional until the last frame of their choice, which comes after the verdict and names the receipt.',
    scope: 'submit',
    isPayable: true,
    headers,
    body: body('ChatRequest', ChatRequest, {
      model: 'kjv-1m',
      messages: [{ role: 'user', content: 'In the beginning' }],
      max_tokens: 16,
      countersign: { attestation: { recompute: 1 } },
    }),
    success: { '200': json('the confirmed answer, with `countersign`', 'ChatCompletion', ChatCompletion) },
    streamed,
    errors,
  },
  {
    id: 'createCompletion',
    method: 'post',
    path: '/v1/completions',
    tag: 'OpenAI',
    summary: 'Create a text completion',
    description: 'Answered when it is confirmed; streams like a chat completion.',
    scope: 'submit',
    isPayable: true,
    headers,
    body: body('CompletionRequest', CompletionRequest, { model: 'kjv-1m', prompt: 'And God said', max_tokens: 16 }),
    success: { '200': json('the confirmed answer, with `countersign`', 'TextCompletion', TextCompletion) },
    streamed,
    errors,
  },
  {
    id: 'createEmbedding',
    method: 'post',
    path: '/v1/embeddings',
    tag: 'OpenAI',
    summary: 'Create embeddings',
    description: 'Answered when they are confirmed.',
    scope: 'submit',
    isPayable: true,
    headers,
    body: body('EmbeddingRequest', EmbeddingRequest, { model: 'use-lite', input: ['a text', 'another one'] }),
    success: { '200': json('the confirmed vectors, with `countersign`', 'EmbeddingList', EmbeddingList) },
    errors,
  },
];
