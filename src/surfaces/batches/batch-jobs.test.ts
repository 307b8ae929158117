import { describe, expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { MACHINE_CLOCK } from '../../ground/clock/clock.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { BatchJobs, refusalOf } from './batch-jobs.ts';

describe('a line that is refused', () => {
  const refused = (code: 'share_exceeded' | 'deadline_unreachable' | 'request_exceeds_limit', headers = {}) =>
    refusalOf(new CodedError(code, 'No.', { headers }), 0);

  test.each(['share_exceeded', 'deadline_unreachable'] as const)(
    'for %s comes back at its appointment, however far that is',
    (code) => {
      expect(refused(code, { 'retry-after': '1', 'retry-after-ms': '950' })).toEqual({ passes: true, afterMs: 950 });
      expect(refused(code, { 'retry-after': '400', 'x-should-retry': 'false' })).toEqual({
        passes: true,
        afterMs: 400_000,
      });
    },
  );

  test('for what it is does not come back', () => {
    expect(refused('request_exceeds_limit', { 'x-should-retry': 'false' })).toEqual({ passes: false });
    expect(refused('request_exceeds_limit')).toEqual({ passes: false });
  });
});

describe('the answers to a line', () => {
  const never = () => Promise.reject(new Error('Nobody asks for this.'));
  /** The jobs of a line, of which each has answered so much. */
  const jobsWith = (bytes: number) => {
    const done = (_tenant: string, [id = '']: readonly string[]) =>
      Promise.resolve([
        {
          id,
          index: 0,
          createdMs: 0,
          bytes,
          output: id,
          usage: { inputTokens: 1, outputTokens: 1 },
          verdict: Buffer.from('v'),
        },
      ]);
    const completions = { submit: never, close: never, cancel: never, done };
    return new BatchJobs(
      { completions, apiKeys: { limitsOf: never }, clock: MACHINE_CLOCK },
      {
        ...{ id: 'batch_1', tenant: 'acme', keyId: 'k', endpoint: '/v1/completions', status: 'in_progress' },
        ...{ inputFile: 'file-1', inputSha256: '0'.repeat(64), outputSeconds: 1, metadata: {}, createdMs: 0 },
        ...{ expiresMs: 1, total: 1, completed: 0, failed: 0, promptTokens: 0, completionTokens: 0 },
      },
    );
  };
  const ids = (count: number) => Array.from({ length: count }, (_, at) => `job_${at}`);

  test.each([
    [8, MAX_OUTPUT_BYTES],
    [256, MAX_OUTPUT_BYTES / 32],
  ])('of %i jobs are handed out together as long as they fit a line', async (count, bytes) => {
    const { done, error } = await jobsWith(bytes).outcomes(ids(count), new AbortController().signal);
    expect(error).toBeUndefined();
    expect(done.map(({ output }) => output)).toEqual(ids(count));
  });

  test.each([
    [9, MAX_OUTPUT_BYTES],
    [256, MAX_OUTPUT_BYTES],
    [256, MAX_OUTPUT_BYTES / 32 + 1],
  ])('of %i jobs that are longer are left out, each with its job, its usage and where it is', async (count, bytes) => {
    const { done, error } = await jobsWith(bytes).outcomes(ids(count), new AbortController().signal);
    expect(error).toMatchObject({ code: 'answer_too_large', status: 502 });
    expect(error?.message).toContain('/v1/jobs/{job_id}/output');
    expect(done.map(({ id, output, usage }) => [id, output, usage.outputTokens])).toEqual(
      ids(count).map((id) => [id, null, 1]),
    );
  });
});
