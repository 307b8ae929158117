import type { JSX } from 'preact';

interface PagerProps<Cursor> {
  /** Cursors of the pages that were turned to, the first page left out. */
  readonly turned: readonly Cursor[];
  /** The cursor of the next page, where there is one. */
  readonly next: Cursor | null;
  readonly size: number;
  readonly turn: (to: readonly Cursor[]) => void;
}

/** Turns the pages of a list that is read by cursors, the newest first. */
export function Pager<Cursor extends string | number>({ turned, next, size, turn }: PagerProps<Cursor>): JSX.Element {
  return (
    <div class="more">
      <span>The newest first, {size} a page</span>
      <span class="actions">
        <button type="button" class="btn" disabled={turned.length === 0} onClick={() => turn(turned.slice(0, -1))}>
          Newer
        </button>
        <button
          type="button"
          class="btn"
          disabled={next === null}
          onClick={() => next !== null && turn([...turned, next])}
        >
          Older
        </button>
      </span>
    </div>
  );
}
