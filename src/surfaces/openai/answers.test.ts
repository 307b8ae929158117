import { expect, test } from '@jest/globals';
import { ChatCompletion, EmbeddingList } from './answer-document.ts';
import { answerOf, usageOf, type Done } from './answers.ts';
import { statementBytes } from '../../proof/receipts/statements.ts';
import { documents } from '../../../test/support/sample-receipts.ts';
import { readRequest } from './requests.ts';

const done = (id: string, output: unknown, index = 0): Done => ({
  id,
  index,
  createdMs: 5_999,
  output,
  usage: { inputTokens: 3, outputTokens: 2 },
  verdict: statementBytes(documents(1).verdict),
});

test('prompts are counted once, however many choices were drawn from each', () => {
  const all = ['a', 'b', 'c', 'd'].map((id, index) => done(id, undefined, index));
  expect(usageOf({ choicesPerPrompt: 2 }, all)).toEqual({ prompt_tokens: 6, completion_tokens: 8, total_tokens: 14 });
  // Also of those whose first choice is missing.
  expect(usageOf({ choicesPerPrompt: 2 }, all.slice(1, 3))).toMatchObject({ prompt_tokens: 6, completion_tokens: 4 });
});

test('a chat answer names the receipt of every choice', () => {
  const asked = readRequest('/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'x' }], n: 2 });
  const output = { message: { role: 'assistant', content: 'y' }, finish_reason: 'stop' };
  const answer = ChatCompletion.parse(answerOf(asked, [done('job_a', output), done('job_b', output, 1)]));
  expect([answer.id, answer.created]).toEqual(['chatcmpl-a', 5]);
  expect(answer.countersign.choices?.map(({ receipt }) => receipt)).toEqual([
    '/v1/jobs/job_a/receipt',
    '/v1/jobs/job_b/receipt',
  ]);
  for (const one of [answer.countersign, ...(answer.countersign.choices ?? [])])
    expect([one.confirmed_by, one.not_checked]).toEqual([['binding', 'recompute', 'usage'], ['tee']]);
});

test('choices that are done keep their places where another one is missing, and texts theirs', () => {
  const chat = readRequest('/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'x' }], n: 3 });
  const output = { message: { role: 'assistant', content: 'y' }, finish_reason: 'stop' };
  const answer = ChatCompletion.parse(answerOf(chat, [done('job_b', output, 1), done('job_c', output, 2)]));
  expect(answer.choices.map(({ index }) => index)).toEqual([1, 2]);
  expect(answer.countersign.choices?.map(({ index, job_id }) => [index, job_id])).toEqual([
    [1, 'job_b'],
    [2, 'job_c'],
  ]);
  const texts = readRequest('/v1/embeddings', { model: 'm', input: Array.from({ length: 514 }, () => 'x') });
  const vectors = { embeddings: [[1], [2]] };
  expect(EmbeddingList.parse(answerOf(texts, [done('job_b', vectors, 1)])).data.map(({ index }) => index)).toEqual([
    512, 513,
  ]);
});

test('fewer dimensions are a unit vector of the first ones, also as base64; more are refused', () => {
  const ask = (more: object) => readRequest('/v1/embeddings', { model: 'm', input: 'x', ...more });
  const output = { embeddings: [[3, 4, 12]] };
  const vectorOf = (more: object) =>
    EmbeddingList.parse(answerOf(ask(more), [done('job_a', output)])).data[0]?.embedding;
  expect(vectorOf({ dimensions: 2 })).toEqual([0.6, 0.8]);
  const text = vectorOf({ encoding_format: 'base64' });
  const bytes = Buffer.from(typeof text === 'string' ? text : '', 'base64');
  expect([0, 4, 8].map((at) => bytes.readFloatLE(at))).toEqual([3, 4, 12]);
  expect(() => vectorOf({ dimensions: 4 })).toThrow(expect.objectContaining({ param: 'dimensions' }));
});
