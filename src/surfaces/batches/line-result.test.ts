import { describe, expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { answeredLine, failedLine, lineRef, unrunLine } from './line-result.ts';

const REF = lineRef(`batch_${'ab'.repeat(12)}`, 7, 'mine');

function done(id: string, inputTokens: number, outputTokens: number) {
  return { id, index: 0, createdMs: 0, output: {}, usage: { inputTokens, outputTokens }, verdict: Buffer.from(id) };
}

describe('the result of a line', () => {
  test('has an id made of its batch and its place, the same each time it is run', () => {
    expect(REF).toEqual({ id: `batch_req_${'ab'.repeat(12)}000007`, customId: 'mine' });
  });

  test('sums the tokens of all its jobs, and has one leaf for each verdict', () => {
    const result = answeredLine(REF, [done('job_a', 3, 5), done('job_b', 10, 20)], { object: 'list' });
    expect(result.usage).toEqual([13, 25]);
    expect(result.leaves.map(String)).toEqual(['job_a', 'job_b']);
    expect(result.line).toMatchObject({
      custom_id: 'mine',
      response: { status_code: 200, request_id: 'job_a', body: { object: 'list' } },
      error: null,
    });
  });

  test('of a refusal has the status that a single request would have got, and names the job if there is one', () => {
    const error = new CodedError('answer_refuted', 'Refuted.', { headers: { 'countersign-job': 'job_a' } });
    expect(failedLine(REF, error)).toMatchObject({
      isError: true,
      leaves: [],
      usage: [0, 0],
      line: { response: { status_code: 502, request_id: 'job_a', body: { error: { code: 'answer_refuted' } } } },
    });
    expect(failedLine(REF, new CodedError('model_not_found', 'None.')).line).toMatchObject({
      response: { status_code: 404, request_id: REF.id },
    });
  });

  test.each(['expired', 'cancelled'] as const)('of a line that was not run has no response but batch_%s', (why) => {
    expect(unrunLine(REF, why)).toMatchObject({
      isError: true,
      line: { response: null, error: { code: `batch_${why}` } },
    });
  });
});
