import { randomInt } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { documents, refusal, signed } from '../support/sample-receipts.ts';

test('every single byte of 1,000 receipts, changed to another, refuses the receipt with a reason', () => {
  const verified: string[] = [];
  let tried = 0;
  for (let number = 0; number < 1_000; number += 1) {
    const bytes = signed(documents(number));
    expect(refusal(bytes)).toBe('verified');
    for (const place of bytes.keys()) {
      const was = bytes.readUInt8(place);
      bytes[place] = was ^ randomInt(1, 256);
      if (refusal(bytes) === 'verified') verified.push(`${number}:${place} ${was} became ${String(bytes[place])}`);
      bytes[place] = was;
      tried += 1;
    }
  }
  expect(verified).toEqual([]);
  expect(tried).toBeGreaterThan(4_000_000);
}, 3_600_000);
