import { afterEach, expect, test } from '@jest/globals';
import { answerWithin, beginHere, beginSpan, beginTrace, makeSpansBy, spanning, type Span } from './spans.ts';
import { formatTraceparent, type TraceContext } from './trace-context.ts';

afterEach(() => makeSpansBy(undefined));

const CALLER = { traceId: '1'.repeat(32), spanId: '2'.repeat(16), isSampled: true };

/** Keeps what it is told. */
class Kept {
  readonly parents: (TraceContext | undefined)[] = [];
  readonly ends: (string | undefined)[] = [];
  drawn = true;
  follows = true;

  constructor() {
    makeSpansBy({
      begin: (_name, _about, parent) => this.#begin(parent),
      isDrawn: () => this.drawn,
      mayFollow: () => this.follows,
    });
  }

  #begin(parent: TraceContext | undefined): Span {
    this.parents.push(parent);
    const spanId = String(this.parents.length).padStart(16, '0');
    return {
      traceparent: formatTraceparent({ traceId: parent?.traceId ?? '9'.repeat(32), spanId, isSampled: true }),
      note: () => undefined,
      end: ({ error } = {}) => this.ends.push(error),
    };
  }
}

test('without a collector nothing is begun, and work is done all the same', async () => {
  const parent = formatTraceparent(CALLER);
  expect([beginSpan('log', '', parent), beginTrace('log', '', parent), beginHere('log', '')]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(await spanning(undefined, () => Promise.resolve(7))).toBe(7);
});

test("a caller's trace is followed where it is recorded and there is room for it, and never drawn", () => {
  const kept = new Kept();
  beginTrace('request', '', formatTraceparent(CALLER));
  expect(kept.parents).toEqual([CALLER]);
  expect(beginTrace('request', '', formatTraceparent({ ...CALLER, isSampled: false }))).toBeUndefined();
  kept.follows = false;
  expect(beginTrace('request', '', formatTraceparent(CALLER))).toBeUndefined();
});

test('what no caller traces is drawn by share, also where the header is none', () => {
  const kept = new Kept();
  expect(beginTrace('request', '', 'nonsense')).toBeDefined();
  kept.drawn = false;
  expect(beginTrace('request', '', 'nonsense')).toBeUndefined();
});

test('work within a request is of its trace, and of none where the request has none', () => {
  const kept = new Kept();
  const request = beginTrace('request', '', formatTraceparent(CALLER));
  answerWithin(request, () => void beginHere('admit', ''));
  expect(kept.parents[1]).toEqual({ ...CALLER, spanId: '0'.repeat(15) + '1' });
  answerWithin(undefined, () => expect(beginHere('admit', '')).toBeUndefined());
  expect(beginHere('admit', '')).toBeDefined();
});

test('a span ends with the code of what was thrown, and never with its sentence', async () => {
  const kept = new Kept();
  const failing = (error: Error) => spanning(beginTrace('log', ''), () => Promise.reject(error));
  await expect(failing(Object.assign(new Error('quotes a prompt'), { code: 'job_gone' }))).rejects.toThrow('quotes');
  await expect(failing(new TypeError('quotes a prompt'))).rejects.toThrow('quotes');
  expect(kept.ends).toEqual(['job_gone', 'TypeError']);
});
