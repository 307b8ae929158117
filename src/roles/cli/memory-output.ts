import { printable } from '../../surfaces/checker/printable.ts';
import { Output } from './output.ts';

/** Prints what anybody may have written: nothing in it moves the cursor, turns the text around or hides. */
export class MemoryOutput extends Output {
  override say(line: string): void {
    super.say(printable(line));
  }

  override show(value: unknown, lines: readonly string[]): void {
    super.show(value, lines.map(printable));
  }
}
