import { expect, test } from '@jest/globals';
import { changedFields, documents, newKey, refusal } from '../support/sample-receipts.ts';

test('every single field of 1,000 receipts, changed by a forger with a key of its own or under the kept signature, is refused', () => {
  const forger = newKey();
  const verified: string[] = [];
  let tried = 0;
  for (let number = 0; number < 1_000; number += 1) {
    for (const { place, bytes } of changedFields(documents(number), forger)) {
      if (refusal(bytes) === 'verified') verified.push(`${number}: ${place}`);
      tried += 1;
    }
  }
  expect(verified).toEqual([]);
  expect(tried).toBeGreaterThan(300_000);
}, 3_600_000);
