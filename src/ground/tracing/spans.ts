import { AsyncLocalStorage } from 'node:async_hooks';
import { parseTraceparent, type TraceContext } from './trace-context.ts';
import type { SpanAttributes, SpanName } from './span-table.ts';

/** A piece of work that is told to whoever collects traces once it has ended. */
export interface Span {
  /** What goes on from here carries this. */
  readonly traceparent: string;
  note(attributes: SpanAttributes): void;
  /** `error` is a word for programs; `atMs` the end, by default now. */
  end(how?: { readonly error?: string | undefined; readonly atMs?: number }): void;
}

/** Where spans go. */
export interface SpanMaker {
  begin(name: SpanName, about: string, parent: TraceContext | undefined, atMs: number | undefined): Span;
  /** Whether a trace is begun for a piece of work that nobody traces. */
  isDrawn(): boolean;
  /** Whether one more trace of a caller is followed now. */
  mayFollow(): boolean;
}

// Each process has one role and one collector, as it has one registry of metrics. Without a collector there
// is no maker, and every call here ends at once.
let maker: SpanMaker | undefined;

/** The trace of the request that is answered now; without `traceparent` where it is not followed. */
const here = new AsyncLocalStorage<{ readonly traceparent: string | undefined }>();

/** Spans are made by this from now on. */
export function makeSpansBy(one: SpanMaker | undefined): void {
  maker = one;
}

export const isTracing = (): boolean => maker !== undefined;

/** Begins a span of a trace that is followed; none where `parent` is undefined, or not of our making. */
export function beginSpan(name: SpanName, about: string, parent: string | undefined, atMs?: number): Span | undefined {
  if (maker === undefined || parent === undefined) return undefined;
  const context = parseTraceparent(parent);
  return context?.isSampled === true ? maker.begin(name, about, context, atMs) : undefined;
}

/**
 * Begins the first span of ours: in the trace of the caller where that is recorded, as far as callers may ask
 * for it; in a new one for a share of the rest.
 */
export function beginTrace(name: SpanName, about: string, caller?: string): Span | undefined {
  if (maker === undefined) return undefined;
  const context = parseTraceparent(caller);
  if (context !== undefined)
    return context.isSampled && maker.mayFollow() ? maker.begin(name, about, context, undefined) : undefined;
  return maker.isDrawn() ? maker.begin(name, about, undefined, undefined) : undefined;
}

/** Begins a span of the request that is answered now, or, outside of any, what `beginTrace` begins. */
export function beginHere(name: SpanName, about: string, atMs?: number): Span | undefined {
  if (maker === undefined) return undefined;
  const request = here.getStore();
  return request === undefined ? beginTrace(name, about) : beginSpan(name, about, request.traceparent, atMs);
}

/** Runs what answers a request, so that `beginHere` knows of it. */
export function answerWithin(span: Span | undefined, work: () => void): void {
  here.run({ traceparent: span?.traceparent }, work);
}

/** Does the work of a span, and ends it with what the work came to. */
export async function spanning<Result>(
  span: Span | undefined,
  work: () => Promise<Result>,
  said: (result: Result) => SpanAttributes = () => ({}),
): Promise<Result> {
  if (span === undefined) return work();
  try {
    const result = await work();
    span.note(said(result));
    span.end();
    return result;
  } catch (error) {
    span.end({ error: wordOf(error) });
    throw error;
  }
}

/** A word for what was thrown: its code or its name, and never its sentence, which may quote a prompt. */
function wordOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code;
  return error instanceof Error ? error.name : 'error';
}
