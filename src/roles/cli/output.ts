import { CommanderError, Option } from 'commander';
import { ERROR_CATALOG } from '../../ground/errors/catalog.ts';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { redact } from '../../ground/logging/redact.ts';
import { printable } from '../../surfaces/checker/printable.ts';

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

  /**
   * A line that grows as a job passes its states, with what was foreseen of it beside them; without a
   * terminal, one line for each state, and what was foreseen beside the first.
   */
  progress(id: string, foretold?: string): { state(name: string, ms: number): void; text(): void; end(): void } {
    const stream = this.#people;
    const live = stream.isTTY === true;
    const states: string[] = [];
    let pieces = 0;
    const beside = foretold === undefined ? '' : `   (${foretold})`;
    const draw = () =>
      stream.write(
        `\r\x1b[K${id}  ${states.join(' → ')}${pieces > 0 && states.at(-1)?.startsWith('running') ? ` (${pieces} pieces)` : ''}${beside}`,
      );
    return {
      state(name, ms) {
        states.push(`${name} ${Math.round(ms)} ms`);
        if (live) draw();
        else stream.write(`${id}  ${name} ${Math.round(ms)} ms${states.length === 1 ? beside : ''}\n`);
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

/**
 * Prints an error as every command does (stable code, one sentence, hint) on standard error and returns the
 * exit code. With `json` it is one line: `{"error":{"code","message","hint"}}`. What commander says of a
 * command line is `request_invalid`, with its guess at a misspelt word as the hint, so that it stands last.
 */
export function reportError(error: unknown, { json = false, stderr = process.stderr }: Report = {}): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  // Commander has printed the help already where a command was asked for without its part.
  if (error instanceof CommanderError && error.code === 'commander.help') return ERROR_CATALOG.request_invalid.exit;
  const coded = codedErrorOf(error);
  const [message, hint] = [said(coded.message), coded.hint === undefined ? undefined : said(coded.hint)];
  if (json) stderr.write(`${JSON.stringify({ error: { code: coded.code, message, hint } })}\n`);
  else {
    stderr.write(`error: ${coded.code}: ${message}\n`);
    if (hint !== undefined) stderr.write(`hint: ${hint}\n`);
  }
  return ERROR_CATALOG[coded.code].exit;
}

/** What an error says, which may quote anybody: without secrets, and without what moves the cursor. */
function said(text: string): string {
  return redact(text).split('\n').map(printable).join('\n');
}

interface Report {
  readonly json?: boolean;
  readonly stderr?: Stream;
}

function codedErrorOf(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  const named = fileErrorOf(error);
  if (named !== undefined) return named;
  if (!(error instanceof CommanderError)) return new CodedError('internal', messageOf(error));
  const [said = '', guess] = error.message.replace(/^error: /, '').split('\n');
  const sentence = `${said.charAt(0).toUpperCase()}${said.slice(1)}`;
  return new CodedError('request_invalid', /[.?!]$/.test(sentence) ? sentence : `${sentence}.`, {
    hint: guess?.replace(/^\(Did you mean (.*)\?\)$/, 'did you mean $1?') ?? '--help lists commands and options',
  });
}

const FILE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be used by this user',
  EPERM: 'may not be used by this user',
  EISDIR: 'is a folder',
  ENOTDIR: 'has a file where a folder should be',
  EEXIST: 'exists already',
  EROFS: 'cannot be written: the disk is read-only',
  ENOSPC: 'cannot be written: the disk is full',
};

/** What is wrong with the file that somebody named, for any command that reads or writes one. */
function fileErrorOf(error: unknown): CodedError | undefined {
  const why = FILE_ERRORS[systemCodeOf(error) ?? ''];
  if (why === undefined || !(error instanceof Error) || !('path' in error)) return undefined;
  return new CodedError('request_invalid', `${String(error.path)} ${why}.`, { cause: error });
}

/**
 * Ends the process when whoever reads what it prints has gone, as `head` does once it has its lines: that is
 * no failure of the command, and nothing that it would print can arrive any more.
 */
export function endWithReader(error: unknown): void {
  if (systemCodeOf(error) !== 'EPIPE') throw error;
  process.exit();
}
