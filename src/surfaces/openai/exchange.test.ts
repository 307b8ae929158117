import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { readRequest, type Endpoint } from './requests.ts';
import { steadySampling } from '../../proof/tasks/sampling.ts';
import { documents } from '../../../test/support/sample-receipts.ts';
import { compareRequest, compareResponse, type Committed } from './exchange.ts';

/** What a receipt of this job would commit to. */
function committed(endpoint: Endpoint, request: object, output: object = {}): Committed {
  const [job] = readRequest(endpoint, request).jobs;
  if (job === undefined) throw new Error('The request asks for nothing.');
  const { ticket, evidence } = documents(1);
  const { max_tokens = 128, temperature = 0, top_p = 1, seed = 5, stop = [] } = job.params ?? {};
  const params = { max_tokens, ...steadySampling({ temperature, top_p }), seed, stop };
  return {
    ticket: { ...ticket.predicate, model: { ...ticket.predicate.model, name: job.model }, task: job.task, params },
    evidence: evidence.predicate,
    inputSha256: sha256Hex(JSON.stringify(job.input)),
    outputSha256: sha256Hex(JSON.stringify(output)),
  };
}

const CHAT = '/v1/chat/completions';
const chat = { model: 'm', messages: [{ role: 'user', content: 'x' }] };

describe('a request that was sent', () => {
  test.each<[string, Endpoint, object]>([
    ['a chat', CHAT, { ...chat, temperature: 0.5, stop: 'y', user: 'u' }],
    [
      'a chat of parts',
      CHAT,
      { model: 'm', messages: [{ role: 'developer', content: [{ type: 'text', text: 'x' }] }] },
    ],
    ['a completion', '/v1/completions', { model: 'm', prompt: 'x', max_tokens: 3, seed: 9 }],
    ['an embedding', '/v1/embeddings', { model: 'm', input: ['x', 'y'] }],
  ])('is what the ticket asks, its members in any order: %s', (_, endpoint, request) => {
    const reversed = Object.fromEntries(Object.entries(request).toReversed());
    expect(compareRequest(reversed, committed(endpoint, request))).toContain('asks what the ticket asks');
  });

  test('with numbers that are drawn with as others is what the ticket asks', () => {
    for (const numbers of [{ temperature: 0.001 }, { temperature: 1.3, top_p: 0 }, { seed: -1 }, { seed: -7 }])
      expect(compareRequest({ ...chat, ...numbers }, committed(CHAT, { ...chat, ...numbers }))).toContain('asks what');
  });

  test('that names attempts or a deadline is compared with those of the ticket', () => {
    const found = committed(CHAT, chat);
    const created = Date.parse(found.ticket.createdAt);
    const ticket = { ...found.ticket, attempts: 4, deadline: new Date(created + 5_000).toISOString() };
    const asked = (countersign: object) => compareRequest({ ...chat, countersign }, { ...found, ticket });
    expect(asked({ attempts: 4, deadline_ms: 5_000 })).toContain('asks what');
    expect(() => asked({ attempts: 3 })).toThrow('attempts is 3 as given, and 4 in the ticket');
    expect(() => asked({ deadline_ms: 5_001 })).toThrow('deadline_ms is 5001 as given, and 5000 in the ticket');
  });

  test('with several choices is compared by the choice that the receipt is of', () => {
    const found = committed(CHAT, { ...chat, seed: 4 });
    expect(compareRequest({ ...chat, seed: 2, n: 3 }, found)).toContain('seed too');
    expect(() => compareRequest({ ...chat, seed: 2, n: 2 }, found)).toThrow('seed is');
  });

  test('as a body of POST /v1/jobs is compared too, and may name the attestation', () => {
    const found = committed('/v1/completions', { model: 'm', prompt: 'x', temperature: 0, max_tokens: 128 });
    const body = { model: 'm', task: 'completion', input: { prompt: 'x' }, attestation: { recompute: 1 } };
    expect(compareRequest(body, found)).toContain('attestation are equal');
    expect(() => compareRequest({ ...body, attestation: { tokens: 1 } }, found)).toThrow(
      'attestation.tokens is 1 as given, and absent in the ticket',
    );
  });

  test('is refused with the name of whatever differs', () => {
    const found = committed(CHAT, { ...chat, seed: 1 });
    const change = fc.oneof(
      fc.record({ temperature: fc.constantFrom(0, 0.5, 2) }),
      fc.record({ top_p: fc.constantFrom(0.1, 0.9) }),
      fc.record({ seed: fc.integer({ min: 2, max: 9_999 }) }),
      fc.record({ model: fc.constantFrom('n', 'mm') }),
      fc.record({ stop: fc.constantFrom('a', 'b') }),
      fc.record({ max_tokens: fc.integer({ min: 1, max: 1_000 }) }),
    );
    fc.assert(
      fc.property(change, (changed) => {
        const [name = ''] = Object.keys(changed);
        expect(() => compareRequest({ ...chat, seed: 1, ...changed }, found)).toThrow(`${name} is `);
      }),
    );
    const other = { ...chat, messages: [{ role: 'user', content: 'y' }] };
    expect(() => compareRequest(other, found)).toThrow('the SHA-256 of the input');
  });

  test('that is none is an unfit file, and no forgery', () => {
    const found = committed(CHAT, chat);
    for (const body of [null, 1, [], 'x', {}, { model: 'm' }, { task: 'poem' }, { ...chat, unknown: 1 }])
      expect(() => compareRequest(body, found)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  });
});

describe('a response that was got', () => {
  const message = { role: 'assistant', content: 'y' };
  const chatOf = (...contents: string[]) => ({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    model: 'm',
    choices: contents.map((content, index) => ({
      index,
      finish_reason: 'stop',
      logprobs: null,
      message: { refusal: null, content, role: 'assistant' },
    })),
    countersign: {},
  });
  const done = committed(CHAT, chat, { message, finish_reason: 'stop' });

  test('is the answer that was confirmed, whichever choice it is', () => {
    expect(compareResponse(chatOf('y'), done)).toContain('answer 0 of the 1');
    expect(compareResponse(chatOf('z', 'y'), done)).toContain('answer 1 of the 2');
  });

  test('of the other endpoints is compared likewise', () => {
    const text = committed('/v1/completions', { model: 'm', prompt: 'x' }, { text: 'y', finish_reason: 'stop' });
    const completion = { object: 'text_completion', model: 'm', choices: [{ text: 'y', finish_reason: 'stop' }] };
    expect(compareResponse(completion, text)).toContain('is the one that was confirmed');
    const vectors = committed('/v1/embeddings', { model: 'm', input: 'x' }, { embeddings: [[0.5, 1e-7]] });
    const list = { object: 'list', model: 'm', data: [{ embedding: [0.5, 1e-7] }] };
    expect(compareResponse(list, vectors)).toContain('is the one that was confirmed');
    const output = [{ type: 'message', content: [{ type: 'output_text', text: 'y' }] }];
    expect(compareResponse({ object: 'response', model: 'm', output }, done)).toContain('is the one');
  });

  test('with calls of tools is compared with them, though its text is shown as none', () => {
    const tool_calls = [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }];
    const called = { message: { role: 'assistant', content: '', tool_calls }, finish_reason: 'stop' };
    const output = [{ type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' }];
    const response = { object: 'response', model: 'm', output };
    expect(compareResponse(response, committed(CHAT, chat, called))).toContain('is the one');
    expect(() => compareResponse(response, done)).toThrow('none of its 1 answers');
  });

  test('with what the model reasoned is compared with it', () => {
    const thought = { role: 'assistant', content: 'y', reasoning_content: 'Hm.' };
    const found = committed(CHAT, chat, { message: thought, finish_reason: 'stop' });
    const [choice] = chatOf('y').choices;
    const got = (reasoning_content: string) => ({
      ...chatOf('y'),
      choices: [{ ...choice, message: { ...choice?.message, reasoning_content } }],
    });
    expect(compareResponse(got('Hm.'), found)).toContain('is the one');
    const response = (text: string) => ({
      object: 'response',
      model: 'm',
      output: [
        { type: 'reasoning', summary: [{ type: 'summary_text', text }] },
        { type: 'message', content: [{ type: 'output_text', text: 'y' }] },
      ],
    });
    expect(compareResponse(response('Hm.'), found)).toContain('is the one');
    for (const other of [got('Oh.'), response('Oh.'), chatOf('y')])
      expect(() => compareResponse(other, found)).toThrow('none of its 1 answers');
  });

  test('is refused with what differs: text, end, or model', () => {
    expect(() => compareResponse(chatOf('z'), done)).toThrow('none of its 1 answers has the SHA-256');
    expect(() => compareResponse({ ...chatOf('y'), model: 'n' }, done)).toThrow('model is "n" as given, and "m"');
    const cut = { object: 'text_completion', model: 'm', choices: [{ text: 'y', finish_reason: 'length' }] };
    expect(() => compareResponse(cut, done)).toThrow('finish_reason is length as given, and stop in the evidence');
  });

  test('that is none is an unfit file, and no forgery', () => {
    const base64 = { object: 'list', model: 'm', data: [{ embedding: 'AAAA' }] };
    for (const body of [null, 1, [], 'x', {}, { object: 'poem' }, base64])
      expect(() => compareResponse(body, done)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  });
});
