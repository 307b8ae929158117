import { Option } from 'commander';
import { ERROR_CATALOG } from '../../ground/errors/catalog.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { redact } from '../../ground/logging/logger.ts';

/** The flag of every command that prints a result. */
export const jsonOption = (): Option => new Option('--json', 'print JSON');

/** Where a command prints; `process` is one. */
interface Streams {
  readonly stdout: Stream;
  readonly stderr: Stream;
}
interface Stream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/**
 * What a command prints. With `--json`, standard output has one line of JSON, and text for people goes to
 * standard error.
 */
export class Output {
  readonly json: boolean;
  readonly #streams: Streams;

  constructor(json: boolean, streams: Streams = process) {
    this.json = json;
    this.#streams = streams;
  }

  /** A line for people. */
  say(line: string): void {
    this.#people.write(`${line}\n`);
  }

  /** The result for programs; nothing without `--json`. */
  result(value: unknown): void {
    if (this.json) this.#streams.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** The result as JSON with `--json`, else as lines for people. */
  show(value: unknown, lines: readonly string[]): void {
    if (this.json) this.result(value);
    else for (const line of lines) this.#streams.stdout.write(`${line}\n`);
  }

  /** A line that grows as a job passes its states; without a terminal, one line for each state. */
  progress(id: string): { state(name: string, ms: number): void; text(piece: string): void; end(): void } {
    const stream = this.#people;
    const live = stream.isTTY === true;
    const states: string[] = [];
    let pieces = 0;
    const draw = () =>
      stream.write(
        `\r\x1b[K${id}  ${states.join(' → ')}${pieces > 0 && states.at(-1)?.startsWith('running') ? ` (${pieces} pieces)` : ''}`,
      );
    return {
      state(name, ms) {
        states.push(`${name} ${Math.round(ms)} ms`);
        if (live) draw();
        else stream.write(`${id}  ${name} ${Math.round(ms)} ms\n`);
      },
      text() {
        pieces += 1;
        if (live) draw();
      },
      end() {
        if (live) stream.write('\n');
      },
    };
  }

  /** The stream for people. */
  get #people(): Stream {
    return this.json ? this.#streams.stderr : this.#streams.stdout;
  }
}

/** Prints an error as every command does (stable code, one sentence, hint) and returns the exit code. */
export function reportError(error: unknown, stderr: Stream = process.stderr): number {
  const coded = error instanceof CodedError ? error : new CodedError('internal', messageOf(error));
  stderr.write(`error: ${coded.code}: ${redact(coded.message)}\n`);
  if (coded.hint !== undefined) stderr.write(`hint: ${redact(coded.hint)}\n`);
  return ERROR_CATALOG[coded.code].exit;
}
