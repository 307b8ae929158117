import { beginSpan, type Span } from '../../ground/tracing/spans.ts';
import type { CaseFile } from './case-file.ts';
import type { Confirmation } from './confirmation.ts';

/** Places in the log that wait for their checkpoint here; of more than that nothing is told. */
const MOST_WAITING = 10_000;

const about = ({ id, epoch }: Pick<CaseFile, 'id' | 'epoch'>) => ({
  'countersign.job.id': id,
  'countersign.attempt': epoch,
});

/** Begins the span of the checks of an attempt, where its job is traced. */
export function beginChecks(file: CaseFile): Span | undefined {
  const span = beginSpan('confirm', 'confirm', file.trace);
  span?.note(about(file));
  return span;
}

/**
 * Tells how long an attempt waited for its engine: from the admission, or from where the attempt before it
 * was closed. Both are times of Redis, as its documents have them.
 */
export function tellWait(file: CaseFile): void {
  if (file.trace === undefined) return;
  const [attempt, before] = [file.attempts.at(-1), file.attempts.at(-2)];
  if (attempt?.beganMs === undefined) return;
  const span = beginSpan('wait', 'wait', file.trace, before?.closed?.atMs ?? file.createdMs);
  span?.note(about(file));
  span?.end({ atMs: attempt.beganMs });
}

/** The spans from a place in the log to the checkpoint that has it. */
export class LogSpans {
  #waiting: { readonly index: number; readonly span: Span }[] = [];

  /** Confirmations have these places; undefined where one has none. */
  placed(confirmations: readonly Confirmation[], places: readonly (number | undefined)[]): void {
    confirmations.forEach(({ file }, at) => {
      const index = places[at];
      if (file.trace === undefined || index === undefined || this.#waiting.length >= MOST_WAITING) return;
      const span = beginSpan('log', 'log', file.trace);
      if (span === undefined) return;
      span.note({ ...about(file), 'countersign.log.index': index });
      this.#waiting.push({ index, span });
    });
  }

  /** A checkpoint of this size is published. */
  published(size: number): void {
    if (this.#waiting.length === 0) return;
    for (const { index, span } of this.#waiting) if (index < size) span.end();
    this.#waiting = this.#waiting.filter(({ index }) => index >= size);
  }
}
