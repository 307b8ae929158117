import { expect, test } from '@jest/globals';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import { documents, signed } from '../../../test/support/sample-receipts.ts';
import { replay } from './replay-command.ts';

const OUTPUT = 'the answer';
const INPUT = { prompt: 'And God said' };
const SAMPLE = documents(8);
SAMPLE.ticket.subject[0].digest.sha256 = sha256Hex(JSON.stringify(INPUT));
const { model, task, params, policy } = SAMPLE.ticket.predicate;

const jobOf = (id: string): JobDocument => ({
  ...{ id, state: 'done', model: model.name, task, params, attestation: { recompute: 1, tokens: 0 } },
  ...{ created_at: '', deadline: '', not_before: null, priority: null, band: null, ended_at: '', erased_at: null },
  ...{ cancel_requested_at: null, retried_from: null, reason: null, confirmed_by: [], not_checked: [], charge: null },
  ...{ queue_position: null, eta: null, attempts: [] },
  links: { self: '', events: '', output: `/${id}/output`, receipt: `/${id}/receipt` },
});

/** A service that has this job, and answers its question once more with this output. */
function service(output: string) {
  const asked: unknown[] = [];
  return {
    asked,
    job: (id: string) => Promise.resolve(jobOf(id)),
    bytes: (path: string) =>
      Promise.resolve(
        path.endsWith('receipt') ? signed(SAMPLE) : Buffer.from(path.startsWith('/again') ? output : OUTPUT),
      ),
    submit: (body: unknown) => {
      asked.push(body);
      return Promise.resolve(jobOf('again'));
    },
    async *events() {
      await Promise.resolve();
      yield* [];
    },
  };
}

test('the question is asked again as the ticket says it, and the digests of both answers are told', async () => {
  for (const output of [OUTPUT, 'another answer']) {
    const api = service(output);
    const [before, now] = await replay(api, 'before', INPUT);
    expect([before.sha256, now.sha256]).toEqual([sha256Hex(OUTPUT), sha256Hex(output)]);
    expect(api.asked).toEqual([{ model: model.name, task, input: INPUT, params, attestation: policy }]);
  }
});

test('another question than the one that was asked is refused, and nothing is run', async () => {
  const api = service(OUTPUT);
  await expect(replay(api, 'before', { prompt: 'another' })).rejects.toMatchObject({ code: 'request_invalid' });
  expect(api.asked).toEqual([]);
});
