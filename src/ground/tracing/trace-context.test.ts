import { expect, test } from '@jest/globals';
import { formatTraceparent, parseTraceparent } from './trace-context.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

test('a traceparent is read as it is written', () => {
  for (const isSampled of [true, false]) {
    const context = { traceId: TRACE, spanId: SPAN, isSampled };
    expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
  }
});

test('of flags only the one that says "sampled" counts, and a later version may say more', () => {
  expect(parseTraceparent(`00-${TRACE}-${SPAN}-ff`)?.isSampled).toBe(true);
  expect(parseTraceparent(`00-${TRACE}-${SPAN}-fe`)?.isSampled).toBe(false);
  expect(parseTraceparent(`01-${TRACE}-${SPAN}-01-what-is-to-come`)?.traceId).toBe(TRACE);
});

test.each([
  [undefined],
  [''],
  ['00'],
  [`00-${TRACE}-${SPAN}`],
  [`ff-${TRACE}-${SPAN}-01`],
  [`00-${'0'.repeat(32)}-${SPAN}-01`],
  [`00-${TRACE}-${'0'.repeat(16)}-01`],
  [`00-${TRACE.toUpperCase()}-${SPAN}-01`],
  [`00-${TRACE}-${SPAN}-01-more`],
  [`00-${TRACE}-${SPAN}-01 `],
  [`00-${TRACE}-${SPAN}-01\r\nx: y`],
  [`01-${TRACE}-${SPAN}-01-${'x'.repeat(1_000)}`],
])('what is none is passed over: %j', (text) => {
  expect(parseTraceparent(text)).toBeUndefined();
});
