import type { NumberedLine } from './batch-answers.store.ts';
import { PART_LINES, partOf } from './batch-part.ts';

/** Parts that are begun and not written: bounds what is kept line by line. */
export const MAX_OPEN_PARTS = 16;

interface OpenPart {
  readonly lines: NumberedLine[];
  /** Lines without an answer. */
  missing: number;
  /** Whether all its lines are in `lines`. */
  isRead: boolean;
}

/** The parts of a batch that are begun and not written, and which of them are complete. Pure bookkeeping. */
export class OpenParts {
  readonly #parts = new Map<number, OpenPart>();

  /** Whether the next line may begin another part. */
  get hasRoom(): boolean {
    return this.#parts.size < MAX_OPEN_PARTS;
  }

  /** Takes a line in; lines come in their order. Returns the part that is complete by this, if one is. */
  read(line: NumberedLine, isAnswered: boolean): number | undefined {
    const index = partOf(line.number);
    const part = this.#parts.get(index) ?? { lines: [], missing: 0, isRead: false };
    this.#parts.set(index, part);
    part.lines.push(line);
    if (!isAnswered) part.missing += 1;
    if (line.number % PART_LINES === 0) part.isRead = true;
    return isComplete(part) ? index : undefined;
  }

  /** There are no more lines. Returns the parts that are complete by this. */
  end(): number[] {
    for (const part of this.#parts.values()) part.isRead = true;
    return [...this.#parts].flatMap(([index, part]) => (isComplete(part) ? [index] : []));
  }

  /** A line that had no answer has one. Returns its part if it is complete by this. */
  answered(number: number): number | undefined {
    const index = partOf(number);
    const part = this.#parts.get(index);
    if (part === undefined) return undefined;
    part.missing -= 1;
    return isComplete(part) ? index : undefined;
  }

  linesOf(index: number): readonly NumberedLine[] {
    return this.#parts.get(index)?.lines ?? [];
  }

  /** The part is written. */
  close(index: number): void {
    this.#parts.delete(index);
  }
}

function isComplete({ missing, isRead }: OpenPart): boolean {
  return isRead && missing === 0;
}
