import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { openaiOf } from '../support/openai.ts';
import { BY_HAND_MODEL, KJV_MODEL, Pipeline, until, type Client } from '../support/pipeline.ts';

type Response = OpenAI.Responses.Response;
type Signed = Response & { countersign: { job_id: string; state: string; receipt: string | null } };

let pipeline: Pipeline;
let native: Client;
let openai: OpenAI;

beforeAll(async () => {
  pipeline = await Pipeline.start({
    models: [KJV_MODEL, BY_HAND_MODEL],
    workers: 1,
  });
  native = await pipeline.client();
  openai = openaiOf(pipeline, native.key);
});
afterAll(() => pipeline[Symbol.asyncDispose]());

describe('responses, with the official client', () => {
  test('a response is answered when it is confirmed, with the words of the receipt', async () => {
    const response = (await openai.responses.create({
      model: 'kjv-1m',
      instructions: 'Speak plainly.',
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'Who was Moses?' }] }],
      max_output_tokens: 12,
      metadata: { a: 'b' },
    })) as Signed;
    expect(['completed', 'incomplete']).toContain(response.status);
    expect(response).toMatchObject({ instructions: 'Speak plainly.', metadata: { a: 'b' }, background: false });
    const output = await native.output(response.countersign.job_id);
    verifyReceipt(await native.receipt(response.countersign.job_id), pipeline.keyring, { output });
    const said = JSON.parse(output.toString()) as { message: { content: string }; finish_reason: string };
    expect(response.output_text).toBe(said.message.content);
    expect(response.status === 'incomplete').toBe(said.finish_reason === 'length');
    expect(response.usage?.output_tokens).toBeGreaterThan(0);
  });

  test('in the background it is queued, then in progress, also while the attestor looks, and completed only when confirmed', async () => {
    const worker = pipeline.hand(2, undefined, 'hands');
    const started = (await openai.responses.create({ model: 'by-hand', input: 'x', background: true })) as Signed;
    expect([started.status, started.output]).toEqual(['queued', []]);
    const claim = await worker.claim(started.countersign.job_id);
    expect((await openai.responses.retrieve(started.id)).status).toBe('in_progress');
    await pipeline.kill('attestor');
    const { ticket } = worker.ticket(claim);
    expect(ticket.predicate.task).toBe('chat');
    const output = JSON.parse(worker.honestOutput(claim)) as { text: string };
    const chat = JSON.stringify({ message: { role: 'assistant', content: output.text }, finish_reason: 'stop' });
    await worker.claims.commitEvidence(claim, worker.sign(worker.evidence(claim, chat)), chat);
    await until(async () => (await native.job(started.countersign.job_id)).state === 'attesting');
    expect((await openai.responses.retrieve(started.id)).status).toBe('in_progress');
    await pipeline.attestor();
    const done = await until(async () => {
      const now = await openai.responses.retrieve(started.id);
      return now.status === 'completed' && now;
    });
    expect(done.output_text).toBe(output.text);
  });

  test('a stream that breaks off goes on after a sequence number, and the pieces are the whole', async () => {
    const stream = await openai.responses.create({
      model: 'kjv-1m',
      input: 'And it came to pass',
      max_output_tokens: 200,
      temperature: 0.9,
      background: true,
      stream: true,
    });
    const first: OpenAI.Responses.ResponseStreamEvent[] = [];
    let id = '';
    for await (const event of stream) {
      first.push(event);
      if (event.type === 'response.created') id = event.response.id;
      if (first.length === 5) break;
    }
    const rest: OpenAI.Responses.ResponseStreamEvent[] = [];
    for await (const event of await openai.responses.retrieve(id, {
      stream: true,
      starting_after: first.at(-1)?.sequence_number ?? 0,
    }))
      rest.push(event);
    const all = [...first, ...rest];
    expect(all.map((event) => event.sequence_number)).toEqual(all.map((_, index) => index));
    expect(all.map(({ type }) => type).slice(0, 4)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
    ]);
    const text = all.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('');
    const last = all.at(-1);
    if (last?.type !== 'response.completed' && last?.type !== 'response.incomplete') throw new Error(last?.type);
    expect(last.response.output[0]).toMatchObject({ content: [{ text }] });
  });

  test('that is not to be stored says so, and one that is deleted is erased, also again', async () => {
    const stored = (await openai.responses.create({
      model: 'kjv-1m',
      instructions: 'Speak plainly.',
      input: 'x',
      store: false,
      max_output_tokens: 2,
    })) as Signed & { store: boolean };
    expect(stored.store).toBe(false);
    for (let times = 0; times < 2; times += 1) await openai.responses.delete(stored.id);
    await expect(openai.responses.retrieve(stored.id)).rejects.toMatchObject({ status: 410, code: 'erased' });
    const open = await openai.responses.create({ model: 'by-hand', input: 'x', background: true });
    await expect(openai.responses.delete(open.id)).rejects.toMatchObject({ status: 409, code: 'job_not_ended' });
    await openai.responses.cancel(open.id);
    const stranger = openaiOf(pipeline, await pipeline.key('other'));
    await expect(stranger.responses.delete(open.id)).rejects.toMatchObject({ status: 404 });
  });

  test('cancelled, unknown and unfit', async () => {
    const { id } = await openai.responses.create({ model: 'by-hand', input: 'x', background: true });
    expect((await openai.responses.cancel(id)).status).toBe('cancelled');
    const stranger = openaiOf(pipeline, await pipeline.key('other'));
    await expect(stranger.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
    const job = await native.submit({
      model: 'by-hand',
      task: 'chat',
      input: { messages: [{ role: 'user', content: 'x' }] },
    });
    await expect(openai.responses.retrieve(job.id.replace('job_', 'resp_'))).rejects.toMatchObject({ status: 404 });
    for (const [body, param] of [
      [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
      [{ truncation: 'auto' }, 'truncation'],
      [{ tools: [{ type: 'web_search' }] }, 'tools.0.type'],
      [{ nonsense: 1 }, 'nonsense'],
    ] as const)
      await expect(
        openai.responses.create({ model: 'by-hand', input: 'x', ...body } as OpenAI.Responses.ResponseCreateParams),
      ).rejects.toMatchObject({ status: 400, param });
  });
});
