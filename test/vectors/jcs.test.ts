import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { TeePolicy, teePolicyDigest } from '../../src/core/attestation/tee/tee-policy.ts';
import { canonicalJson } from '../../src/ground/json/canonical-json.ts';
import { VECTORS, describeVectors } from '../support/vectors.ts';

describeVectors('canonical JSON (RFC 8785)', () => {
  test.each(['arrays', 'french', 'structures', 'unicode', 'values', 'weird'])('%s', (name) => {
    const read = (folder: string, ending: string) =>
      readFileSync(join(VECTORS, 'jcs/testdata', folder, `${name}.${ending}`), 'utf8');
    const canonical = canonicalJson(JSON.parse(read('input', 'json')));
    expect(canonical).toBe(read('output', 'json').trimEnd());
    expect(Buffer.from(canonical).toString('hex')).toBe(read('outhex', 'txt').replace(/\s/g, ''));
  });
});

test('a policy is named by what it says, in whatever order it was written', () => {
  const [a, b] = ['1', '2'].map((digit) => digit.repeat(96));
  const one = TeePolicy.parse({ version: 1, tdx: { mrTd: [a], mrSeam: [b], rtMr1: 'any', rtMr2: 'any' } });
  const same = TeePolicy.parse({ tdx: { rtMr2: 'any', rtMr1: 'any', mrSeam: [b], mrTd: [a] }, version: 1 });
  const other = TeePolicy.parse({ version: 1, tdx: { mrTd: [b], mrSeam: [a], rtMr1: 'any', rtMr2: 'any' } });
  expect(teePolicyDigest(one)).toBe(teePolicyDigest(same));
  expect(teePolicyDigest(one)).not.toBe(teePolicyDigest(other));
});
