/** What a busy server asked for. It goes from the worker to the caller in the sentence of the job's end. */
export interface Overload {
  readonly status: 429 | 503;
  readonly retryAfterS: number | undefined;
}

const SENTENCE = /The inference server is busy \((429|503)\)(?: and asks to wait (\d{1,9}) s)?\./;

export function overloadMessage(status: Overload['status'], retryAfterS: number | undefined): string {
  const wait = retryAfterS === undefined ? '' : ` and asks to wait ${Math.ceil(retryAfterS)} s`;
  return `The inference server is busy (${status})${wait}.`;
}

/** What `overloadMessage` said, where it stands in a text. */
export function overloadIn(text: string): Overload | undefined {
  const [, status, seconds] = SENTENCE.exec(text) ?? [];
  if (status === undefined) return undefined;
  return { status: status === '429' ? 429 : 503, retryAfterS: seconds === undefined ? undefined : Number(seconds) };
}
