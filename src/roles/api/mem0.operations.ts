import { z } from 'zod';
import { body, inPath, text, type Operation } from './operation.ts';

const parameters = inPath('path', 'an address of Mem0, from its version on', 'v3/memories/search/');
const Said = z.looseObject({}).describe('as the client of Mem0 sends it');
const answer = text('as the client of Mem0 reads it', 'application/json; charset=utf-8');
const BODY = ['body_not_json', 'body_too_large', 'media_type_unsupported'] as const;
const errors = ['request_invalid', 'memory_not_found', 'erased', 'memory_unavailable'] as const;
const common = { path: '/mem0/{path}', tag: 'Memory', scope: 'read', parameters } as const;

export const MEM0_OPERATIONS: readonly Operation[] = [
  {
    ...common,
    id: 'getByMem0',
    method: 'get',
    summary: 'Read memories with the client of Mem0',
    description:
      "The client of Mem0's hosted API works with `/mem0` of this API as its base, and what calls the server that Mem0 gives away does too: docs/mem0.md says what they find there. A call counts as two requests or more.",
    success: { '200': answer },
    errors,
  },
  {
    ...common,
    id: 'postByMem0',
    method: 'post',
    summary: 'Add, list and search memories with the client of Mem0',
    body: body('Mem0Request', Said, { query: 'what must she not eat?', filters: { user_id: 'ann' } }),
    success: { '200': answer },
    errors: [...BODY, ...errors],
  },
  {
    ...common,
    id: 'putByMem0',
    method: 'put',
    summary: 'Correct memories with the client of Mem0',
    body: body('Mem0Request', Said, { text: 'I am allergic to nuts.' }),
    success: { '200': answer },
    errors: [...BODY, ...errors, 'trust_too_low'],
  },
  {
    ...common,
    id: 'deleteByMem0',
    method: 'delete',
    summary: 'Erase memories with the client of Mem0',
    success: { '200': answer },
    errors: [...BODY, ...errors],
  },
];
