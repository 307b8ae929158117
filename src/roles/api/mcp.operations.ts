import { z } from 'zod';
import { ResourceMetadata } from '../../surfaces/mcp/token-terms.ts';
import { body, events, json, text, type Operation } from './operation.ts';

const Message = z
  .looseObject({ jsonrpc: z.literal('2.0') })
  .describe('a message of JSON-RPC, as the Model Context Protocol says');

const metadata = (id: string, path: string): Operation => ({
  id,
  method: 'get',
  path,
  tag: 'Memory',
  summary: 'Get where access tokens for MCP come from (RFC 9728)',
  description: 'There is none where `POST /mcp` takes API keys only.',
  scope: null,
  success: { '200': json('the metadata of the resource', 'ResourceMetadata', ResourceMetadata) },
  errors: ['route_not_found'],
});

export const MCP_OPERATIONS: readonly Operation[] = [
  {
    id: 'callMcp',
    method: 'post',
    path: '/mcp',
    tag: 'Memory',
    summary: 'Speak the Model Context Protocol',
    description:
      'Tools to remember, recall, list, correct, forget and export memories, to verify receipts and to submit jobs, for any client of the protocol (2026-07-28, and the versions before it). The API key says who calls, or an access token of the issuer that the operator has named; the header `Countersign-Memory` names the only owner whose memories are reached. A call of a tool counts as two requests.',
    scope: 'read',
    headers: z.object({
      'countersign-memory': z
        .string()
        .max(2_000)
        .optional()
        .describe('the only owner whose memories are reached, percent-encoded; without it each call names one'),
    }),
    body: body('McpMessage', Message, { jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    success: {
      '200': json('the answer', 'McpMessage', Message),
      '202': text('nothing: it was a notification'),
    },
    streamed: events('the answer to a client of an earlier version, as one event'),
    errors: [
      'request_invalid',
      'body_not_json',
      'body_too_large',
      'media_type_unsupported',
      'token_refused',
      'issuer_away',
    ],
  },
  metadata('getProtectedResource', '/.well-known/oauth-protected-resource'),
  metadata('getProtectedResourceOfMcp', '/.well-known/oauth-protected-resource/mcp'),
];
