import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isJobId, newJobId } from './job-id.ts';

const aTime = fc.integer({ min: 0, max: 2 ** 48 - 1 });

test('job ids have one form and sort by the time at which they were made', () => {
  fc.assert(
    fc.property(aTime, aTime, (a, b) => {
      const [first, second] = [newJobId('default', a), newJobId('default', b)];
      expect(isJobId(first)).toBe(true);
      if (a < b) expect(first < second).toBe(true);
    }),
  );
});

test('10,000 ids of one millisecond are all different', () => {
  expect(new Set(Array.from({ length: 10_000 }, () => newJobId('default', 1)))).toHaveProperty('size', 10_000);
});

test.each([
  'job_',
  `job_${'0'.repeat(29)}`,
  `job_${'0'.repeat(31)}`,
  `JOB_${'0'.repeat(30)}`,
  `job_${'A'.repeat(30)}`,
  `job_${'i'.repeat(30)}`,
  `job_${'0'.repeat(30)}\n`,
  ` job_${'0'.repeat(30)}`,
])('"%s" is no job id', (text) => {
  expect(isJobId(text)).toBe(false);
});
