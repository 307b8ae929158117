import { describe, expect, test } from '@jest/globals';
import { VERIFICATION_STEPS } from '../../proof/receipts/verification-steps.ts';
import { Transcript } from './transcript.ts';

const ALWAYS = ['file', 'signatures', 'evidence', 'binding', 'decision', 'promises', 'log'] as const;
const OPTIONAL = ['input', 'output', 'checkpoint', 'standing'] as const;
const resultsOf = (transcript: Transcript) => transcript.lines.map(({ result }) => result);

describe('a transcript', () => {
  test('has one line for each step, and skips what nobody gave, saying so', () => {
    const transcript = new Transcript();
    for (const step of ALWAYS) transcript.pass(step);
    expect(transcript.lines.map(({ step }) => step)).toEqual(Object.keys(VERIFICATION_STEPS));
    expect(resultsOf(transcript)).toEqual([...ALWAYS.map(() => 'PASS'), ...OPTIONAL.map(() => 'SKIP')]);
    for (const line of transcript.lines.slice(ALWAYS.length)) expect(line.note).toBeDefined();
  });

  test.each(ALWAYS.map((_, at) => at))('names the one step that failed after %i, and passes none behind it', (at) => {
    const transcript = new Transcript();
    for (const step of ALWAYS.slice(0, at)) transcript.pass(step);
    transcript.fail('why');
    const results = resultsOf(transcript);
    expect(results.slice(0, at + 1)).toEqual([...ALWAYS.slice(0, at).map(() => 'PASS'), 'FAIL']);
    expect(new Set(results.slice(at + 1))).toEqual(new Set(['SKIP']));
  });
});
