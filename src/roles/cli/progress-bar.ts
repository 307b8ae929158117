/** Where progress is drawn. */
interface Stream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** What takes less is over before anybody wonders. */
const QUIET_MS = 2_000;
/** Between two lines where there is no terminal, so that a file of them stays short. */
const LINE_EVERY_MS = 5_000;
const DRAW_EVERY_MS = 100;
const BAR_CHARACTERS = 24;

/**
 * How far something has come that may take long: nothing for the first two seconds, then a bar on a terminal,
 * and a plain line now and then where there is none.
 */
export class ProgressBar {
  readonly #what: string;
  readonly #total: number | undefined;
  readonly #stream: Stream;
  readonly #now: () => number;
  readonly #startedMs: number;
  #drawnMs = -Infinity;

  /** `total` is undefined where nobody knows how much there is; `now` is in milliseconds. */
  constructor(what: string, total: number | undefined, stream: Stream = process.stderr, now = Date.now) {
    this.#what = what;
    this.#total = total;
    this.#stream = stream;
    this.#now = now;
    this.#startedMs = now();
  }

  /** So many are done. */
  at(count: number): void {
    const now = this.#now();
    const pause = this.#stream.isTTY === true ? DRAW_EVERY_MS : LINE_EVERY_MS;
    if (now - this.#startedMs < QUIET_MS || now - this.#drawnMs < pause) return;
    this.#drawnMs = now;
    if (this.#stream.isTTY === true) this.#stream.write(`\r\x1b[K${this.#bar(count)}${this.#counted(count)}`);
    else this.#stream.write(`${this.#what}: ${this.#counted(count)}\n`);
  }

  /** Passes on what comes, counted by its size, and ends. */
  async *through<T>(pieces: AsyncIterable<T>, sizeOf: (piece: T) => number = () => 1): AsyncGenerator<T> {
    let count = 0;
    try {
      for await (const piece of pieces) {
        this.at((count += sizeOf(piece)));
        yield piece;
      }
    } finally {
      this.end();
    }
  }

  /** Leaves the terminal as it was. */
  end(): void {
    if (this.#stream.isTTY === true && this.#drawnMs !== -Infinity) this.#stream.write('\r\x1b[K');
  }

  #counted(count: number): string {
    return this.#total === undefined ? `${count}` : `${count} of ${this.#total}`;
  }

  #bar(count: number): string {
    if (this.#total === undefined) return `${this.#what}  `;
    const full =
      this.#total === 0 ? BAR_CHARACTERS : Math.min(BAR_CHARACTERS, Math.floor((count / this.#total) * BAR_CHARACTERS));
    return `${this.#what}  ${'█'.repeat(full)}${'░'.repeat(BAR_CHARACTERS - full)}  `;
  }
}
