import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ElementsRefused, jsonElements } from './json-elements.ts';

const LIMITS = { maxElement: 10_000, maxDepth: 20 };

async function elementsOf(text: string, cuts: readonly number[] = [], limits = LIMITS) {
  const bytes = Buffer.from(text);
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const elements = [];
  for await (const { member, text: one, isRest } of jsonElements(
    at.slice(1).map((end, index) => bytes.subarray(at[index], end)),
    limits,
  ))
    elements.push({ member, value: JSON.parse(one) as unknown, ...(isRest ? { isRest } : {}) });
  return elements;
}

describe('the elements of a large JSON text', () => {
  const anyCuts = fc.array(fc.nat(), { maxLength: 5 });
  const space = fc.constantFrom(undefined, 1, '\t');
  const anyValue = fc.jsonValue({ maxDepth: 3, stringUnit: 'grapheme' });
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

  test('are those of an array, however it is written and cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyValue), anyCuts, space, async (values, cuts, indent) => {
        const elements = await elementsOf(JSON.stringify(values, null, indent), cuts);
        expect(elements).toEqual(values.map((value) => ({ member: undefined, value: plain(value) })));
      }),
    );
  });

  test('are those of the arrays that are members of an object', async () => {
    const members = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.array(anyValue, { maxLength: 4 }), {
      minKeys: 1,
    });
    await fc.assert(
      fc.asyncProperty(members, anyValue, anyCuts, space, async (arrays, other, cuts, indent) => {
        fc.pre(!Array.isArray(other));
        const text = JSON.stringify({ ...arrays, '\u0000other': other }, null, indent);
        const elements = await elementsOf(text, cuts);
        expect(elements).toEqual([
          ...Object.entries(plain(arrays) as object).flatMap(([member, values]: [string, unknown[]]) =>
            values.map((value) => ({ member, value })),
          ),
          { member: undefined, value: { '\u0000other': plain(other) }, isRest: true },
        ]);
      }),
    );
  });

  test('of an object without arrays are the object', async () => {
    expect(await elementsOf('{"a": {"b": [1]}, "c": "]"}')).toEqual([
      { member: undefined, value: { a: { b: [1] }, c: ']' }, isRest: true },
    ]);
  });

  test.each(['', 'null', '"a"', '[1', '{"a":[1}', '[1]]', '[1] x', '[}', '{"a":1', '[1]"', 'x[1]'])(
    '%s is refused',
    async (text) => {
      await expect(elementsOf(text)).rejects.toThrow(ElementsRefused);
    },
  );

  test('are refused where one is too long or too deep, in the middle of it', async () => {
    await expect(elementsOf(`["${'x'.repeat(100)}"]`, [], { ...LIMITS, maxElement: 50 })).rejects.toThrow('longer');
    await expect(elementsOf('['.repeat(100_000))).rejects.toThrow('deeper');
    const endless = async function* () {
      yield Buffer.from('["');
      for (;;) {
        await Promise.resolve();
        yield Buffer.alloc(1_000, 'x');
      }
    };
    await expect(jsonElements(endless(), LIMITS).next()).rejects.toThrow('longer');
  });
});
