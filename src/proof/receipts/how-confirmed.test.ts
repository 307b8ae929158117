import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { documents } from '../../../test/support/sample-receipts.ts';
import { howConfirmed } from './how-confirmed.ts';
import { PROMISES } from './promises/promises.ts';
import { statementBytes, type Verdict } from './statements.ts';

const { verdict } = documents(1);
const said = (change: Partial<Verdict['predicate']>) =>
  howConfirmed(statementBytes({ ...verdict, predicate: { ...verdict.predicate, ...change } }));

const BOUND = verdict.predicate.properties.slice(0, 8);

describe('how a job was confirmed', () => {
  test.each<[string, Partial<Verdict['predicate']>, string[], string[]]>([
    ['bound only', { properties: BOUND, notChecked: ['OUTPUT_NOT_RECOMPUTED'] }, ['binding'], ['recompute']],
    ['recomputed', {}, ['binding', 'recompute', 'usage'], ['tee']],
    [
      'agreed upon by machines that have proven themselves',
      { properties: [...BOUND, 'QUORUM_AGREED', 'HARDWARE_ATTESTED'], notChecked: ['WEIGHTS_DECLARED_NOT_MEASURED'] },
      ['binding', 'quorum', 'tee'],
      ['weights'],
    ],
    [
      'replayed',
      { properties: [...BOUND, 'TOKENS_REPLAYED'], tokens: { promisedShare: 0.5, drawn: true }, notChecked: [] },
      ['binding', 'tokens'],
      [],
    ],
    [
      'not drawn for a replay, which no word says',
      { properties: BOUND, tokens: { promisedShare: 0.5, drawn: false }, notChecked: [] },
      ['binding'],
      ['tokens'],
    ],
  ])('%s', (_, change, confirmedBy, notChecked) => {
    expect(said(change)).toEqual({ confirmed_by: confirmedBy, not_checked: notChecked });
  });

  test('each word of a verdict shows under exactly one name', () => {
    for (const word of PROMISES.properties) expect(PROMISES.kept(new Set([word]))).toHaveLength(1);
    for (const word of PROMISES.notChecked) expect(PROMISES.left({}, new Set([word]))).toHaveLength(1);
  });

  test('is unknown where there is no verdict, one that refutes, or bytes that are none', () => {
    const unknown = { confirmed_by: null, not_checked: null };
    expect(howConfirmed(undefined)).toEqual(unknown);
    expect(said({ decision: 'refuted', refusals: ['OUTPUT_DIFFERS'] })).toEqual(unknown);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => expect(howConfirmed(bytes)).toEqual(unknown)));
  });
});
