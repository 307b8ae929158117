import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { Price } from '../../proof/receipts/statements.ts';
import { runPrice } from '../../proof/receipts/charge.ts';
import { PriceTable, type Work } from './price-table.ts';

const PARAMS = { max_tokens: 100, temperature: 0, top_p: 1, seed: 0, stop: [] };

function tableOf(model: object): PriceTable {
  return PriceTable.parse(JSON.stringify({ version: 1, id: 'v1', currency: 'USD', models: { m: model } }), 'prices');
}

function work(more: Partial<Work> = {}): Work {
  return { model: 'm', task: 'completion', params: PARAMS, policy: { recompute: 0 }, inputBytes: 36, ...more };
}

function mistakes(text: string): string {
  try {
    PriceTable.parse(text, 'prices.json');
  } catch (error) {
    return error instanceof CodedError ? `${error.code}: ${error.message}` : String(error);
  }
  return 'none';
}

describe('the price of a job', () => {
  test('a table follows another of its currency: the next tickets name that one', () => {
    const [table, next] = [tableOf({ input: 1_000_000 }), tableOf({ input: 2_000_000 })];
    const euros = JSON.stringify({ version: 1, id: 'v2', currency: 'EUR', models: {} });
    for (const other of [PriceTable.parse(euros, 'prices'), PriceTable.free()])
      expect(() => table.follow(other)).toThrow('The prices are in USD');
    expect(table.priceOf(work())?.input).toBe(1_000_000);
    table.follow(next);
    expect(table.priceOf(work())).toEqual(next.priceOf(work()));
  });

  test('a model that is not in the table costs nothing, and without a table nothing does', () => {
    expect(tableOf({ input: 1 }).priceOf(work({ model: 'other' }))).toBeUndefined();
    expect(PriceTable.free().priceOf(work())).toBeUndefined();
    expect(PriceTable.free().currency).toBeUndefined();
  });

  test('names the table by the digest of its text, so that a receipt can be compared with it', () => {
    const text = JSON.stringify({ version: 1, id: 'v1', currency: 'USD', models: { m: { input: 1 } } });
    expect(PriceTable.parse(text, 'prices').priceOf(work())?.table).toEqual({ id: 'v1', sha256: sha256Hex(text) });
  });

  test('is held for every byte as a token, the tokens of a template, all output and all paid seconds', () => {
    const price = tableOf({ input: 1_000_000, output: 10_000_000, second: 7, maxSeconds: 2 }).priceOf(work());
    expect(price?.hold).toBe(36 + 64 + 10 * 100 + 7 * 2);
  });

  test('an embedding writes no tokens, and none are held for it', () => {
    const price = tableOf({ input: 0, output: 1_000_000 }).priceOf(work({ task: 'embedding' }));
    expect(price?.hold).toBe(0);
  });

  test('no use of tokens and seconds within the bounds costs more than what is held, also with every vote of a quorum', () => {
    const amount = fc.integer({ min: 0, max: 1_000_000_000 });
    fc.assert(
      fc.property(
        fc.record({ input: amount, output: amount, second: amount }),
        fc.integer({ min: 1, max: 131_072 }),
        fc.integer({ min: 0, max: 1_048_576 }),
        fc.option(fc.integer({ min: 2, max: 5 }), { nil: undefined }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (prices, max_tokens, inputBytes, votes, part) => {
          const policy = { recompute: 0, ...(votes === undefined ? {} : { quorum: { of: votes, agree: votes } }) };
          const price = tableOf(prices).priceOf(work({ params: { ...PARAMS, max_tokens }, policy, inputBytes }));
          const run = runPrice(prices, part * (inputBytes + 64), part * max_tokens, part * 60);
          expect((votes ?? 1) * run).toBeLessThanOrEqual((price?.hold ?? 0) + 1e-3);
        },
      ),
    );
  });

  test('a method costs its share: half of the answers computed again, half of its price, rounded up', () => {
    const model = { input: 0, attestation: { recompute: 11, tokens: 100, quorum: 1_000 } };
    const price = (policy: Work['policy']) => tableOf(model).priceOf(work({ policy }))?.attestation;
    expect(price({ recompute: 0.5 })).toBe(6);
    expect(price({ recompute: 0, tokens: 0.25 })).toBe(25);
    expect(price({ recompute: 0, quorum: { of: 3, agree: 2 } })).toBe(1_000);
  });
});

describe('a price table', () => {
  test('with several mistakes names all of them at once', () => {
    const said = mistakes(JSON.stringify({ version: 1, id: ' ', currency: 'usd', models: { m: { input: -1 } } }));
    expect(said).toMatch(/^prices_invalid: prices\.json: .*id: .*currency: .*models\.m\.input: /);
  });

  test('whose jobs could come to more than can be counted is refused, and no job of any other comes to more', () => {
    const amount = fc.oneof(fc.constantFrom(0, 1_000_000_000_000), fc.integer({ min: 0, max: 1_000_000_000_000 }));
    fc.assert(
      fc.property(
        fc.record({ input: amount, output: amount, second: amount, maxSeconds: fc.integer({ min: 1, max: 86_400 }) }),
        fc.record({ recompute: amount, tokens: amount, quorum: amount }),
        (prices, attestation) => {
          const text = JSON.stringify({
            version: 1,
            id: 'v1',
            currency: 'USD',
            models: { m: { ...prices, attestation } },
          });
          const most = work({
            params: { ...PARAMS, max_tokens: 131_072 },
            policy: { recompute: 1, tokens: 1, quorum: { of: 5, agree: 5 } },
            inputBytes: 4 * 1_048_576,
          });
          const said = mistakes(text);
          if (said !== 'none') expect(said).toMatch(/^prices_invalid: prices\.json: models\.m: a job may come to /);
          else expect(Price.safeParse(PriceTable.parse(text, 'prices').priceOf(most)).success).toBe(true);
        },
      ),
    );
    const dear = {
      version: 1,
      id: 'v1',
      currency: 'USD',
      models: { m: { input: 0, second: 1e12, maxSeconds: 86_400 } },
    };
    expect(mistakes(JSON.stringify(dear))).toContain('a job may come to');
  });

  test.each(['', '[]', '{"version":2}', '{"version":1,"id":"a","currency":"USD","models":{"m":{"input":0.5}}}'])(
    '%s is refused',
    (text) => {
      expect(mistakes(text)).toMatch(/^prices_invalid: prices\.json/);
    },
  );
});
