import { describe, expect, test } from '@jest/globals';
import { CommanderError } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { foretoldEnd } from './first-job.ts';
import { Output, reportError } from './output.ts';

/** A stream that keeps what is written to it. */
class Kept {
  text = '';

  write(piece: string): void {
    this.text += piece;
  }
}

/** Of a job that is foreseen to end 80 ms after this time, or 250 ms at most. */
const foretold = (nowMs: number) =>
  foretoldEnd({ eta: { p50: new Date(nowMs + 80).toISOString(), p90: new Date(nowMs + 250).toISOString() } }, nowMs);

describe('what a command prints', () => {
  test('with --json is one line of JSON on standard output, with all text for people beside it', () => {
    const [stdout, stderr] = [new Kept(), new Kept()];
    const out = new Output(true, { stdout, stderr });
    out.say('starting');
    out.show({ a: 'x\ny' }, ['for people']);
    out.progress('job_1').state('queued', 1.6);
    expect(stdout.text).toBe('{"a":"x\\ny"}\n');
    expect(stderr.text).toBe('starting\njob_1  queued 2 ms\n');
  });

  test('of a job is what was foreseen of it too, beside its progress', () => {
    const [stdout, screen] = [new Kept(), Object.assign(new Kept(), { isTTY: true })];
    for (const stream of [stdout, screen]) {
      const progress = new Output(false, { stdout: stream, stderr: new Kept() }).progress('job_1', foretold(1_000));
      progress.state('queued', 1.6);
      progress.state('done', 90);
      progress.end();
    }
    expect(stdout.text).toBe('job_1  queued 2 ms   (predicted: 80 to 250 ms)\njob_1  done 90 ms\n');
    expect(screen.text.split('\x1b[K').at(-1)).toBe('job_1  queued 2 ms → done 90 ms   (predicted: 80 to 250 ms)\n');
    expect(foretoldEnd({ eta: null }, 0)).toBeUndefined();
  });

  test('without --json is text alone', () => {
    const [stdout, stderr] = [new Kept(), new Kept()];
    const out = new Output(false, { stdout, stderr });
    out.say('starting');
    out.result({ a: 1 });
    out.show({ a: 1 }, ['one', 'two']);
    expect([stdout.text, stderr.text]).toEqual(['starting\none\ntwo\n', '']);
  });

  test('of an error is its code, one sentence and what to do, and its exit code is that of the catalog', () => {
    const stderr = new Kept();
    const error = new CodedError('job_not_found', 'There is no job with this id.', { hint: 'look again' });
    expect(reportError(error, { stderr })).toBe(3);
    expect(stderr.text).toBe('error: job_not_found: There is no job with this id.\nhint: look again\n');
  });

  test('of an unexpected error is internal, and no secret in it is printed', () => {
    const stderr = new Kept();
    const key = `csk_${'0'.repeat(16)}_${'a'.repeat(43)}`;
    expect(reportError(new Error(`fetch failed with ${key}`), { stderr })).toBe(1);
    expect(stderr.text).toMatch(/^error: internal: fetch failed/);
    expect(stderr.text).not.toContain('a'.repeat(43));
  });

  test('moves no cursor, whomever it quotes', () => {
    const stderr = new Kept();
    reportError(new CodedError('bundle_refused', 'The entry \u001b[2J\u202e is changed.', { hint: 'a\u009b' }), {
      stderr,
    });
    expect(stderr.text).toBe('error: bundle_refused: The entry ?[2J? is changed.\nhint: a?\n');
  });

  test('of an error with --json is one line of JSON with the same three parts', () => {
    const stderr = new Kept();
    const error = new CodedError('job_not_found', 'There is no job with this id.', { hint: 'look again' });
    expect(reportError(error, { json: true, stderr })).toBe(3);
    expect(stderr.text).toBe(
      '{"error":{"code":"job_not_found","message":"There is no job with this id.","hint":"look again"}}\n',
    );
  });

  test('of a misspelt word ends with what was probably meant, and help that was asked for is no error', () => {
    const stderr = new Kept();
    const unknown = "error: unknown command 'lst'\n(Did you mean list?)";
    expect(reportError(new CommanderError(1, 'commander.unknownCommand', unknown), { stderr })).toBe(2);
    expect(stderr.text).toBe("error: request_invalid: Unknown command 'lst'.\nhint: did you mean list?\n");
    expect(reportError(new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)'), { stderr })).toBe(0);
  });
});
