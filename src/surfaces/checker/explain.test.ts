import { describe, expect, test } from '@jest/globals';
import { contradictions, sound } from '../../../test/support/contradictions.ts';
import { changedFields, documents, keyring, newKey, signed } from '../../../test/support/sample-receipts.ts';
import { examine } from './examine.ts';
import { explain } from './explain.ts';
import { trustInGiven, trustOnFirstUse } from './trust.ts';

const given = { keyring, ...trustInGiven('keyring.json') };
const asIs = (iso: string) => iso;
const explained = (bytes: Uint8Array, trusted = given, held = {}) => explain(examine(bytes, trusted, held), asIs);
const titles = (points: readonly { title: string }[]) => points.map(({ title }) => title);

describe('what a receipt proves', () => {
  test('is told of every kind of sound receipt, with every gap of its verdict among what it does not prove', () => {
    for (const { place, bytes } of sound(documents(1))) {
      const { answer } = examine(bytes, given);
      if (!answer.verified) throw new Error(`${place} does not hold.`);
      const { proves, doesNotProve, documents: three } = explained(bytes);
      const codes = doesNotProve.flatMap(({ codes = [] }) => codes);
      expect(codes).toEqual([...answer.verdict.notChecked, ...(answer.verdict.hardware?.warnings ?? [])]);
      expect(titles(doesNotProve)).toContain('That the answer is true or good');
      expect(JSON.stringify([proves, doesNotProve, three])).not.toMatch(/undefined|NaN|null/);
    }
  });

  test('is never a line that was skipped', () => {
    const bytes = signed(documents(1));
    const { proves, doesNotProve } = explained(bytes);
    expect(titles(proves).filter((title) => /your/.test(title))).toEqual([]);
    expect(titles(doesNotProve)).toContain('That the text in your hands is the confirmed one');
  });

  test('is less where the keyring comes from the service itself', () => {
    const { doesNotProve } = explained(signed(documents(1)), { keyring, ...trustOnFirstUse('https://example.org') });
    expect(doesNotProve.at(-1)?.text).toBe('You have this keyring from the service itself.');
  });

  test('is nothing where a receipt is refused, and only that there is another answer where yours is not it', () => {
    const refused = [...contradictions(documents(1)), ...[...changedFields(documents(1), newKey())].slice(0, 60)];
    for (const { bytes } of refused) {
      const { title, proves, documents: three } = explained(bytes);
      expect([title, titles(proves), three]).toEqual([
        'Do not rely on this receipt',
        ['Nothing that you could rely on'],
        undefined,
      ]);
    }
    const other = explained(signed(documents(1)), given, { output: Buffer.from('x') });
    expect(titles(other.proves)).toEqual(['That some answer was confirmed', 'That it is not yours']);
    expect(other.documents).toBeDefined();
  });
});
