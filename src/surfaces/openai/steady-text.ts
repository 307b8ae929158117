import { CodedError } from '../../ground/errors/coded-error.ts';
import type { JobEvent } from '../../core/jobs/job-events.ts';

/**
 * The provisional text of a job for a client that cannot take a word back. Another attempt may write the same text
 * again: what was said is not said twice. Where it writes something else, or the attestor refutes what was said, or confirms
 * something else, the client must be told, and that is an error.
 */
export class SteadyText {
  #said = '';
  #written = '';
  #epoch = 0;

  /** What is new to say after this event. Throws CodedError `answer_refuted`. */
  take({ type, data }: JobEvent): string {
    if (type === 'state') {
      if (data['why'] === 'refuted' && this.#said !== '')
        throw new CodedError(
          'answer_refuted',
          `The attestor refuted the text above; do not use it. (${String(data['detail'])})`,
        );
      return '';
    }
    if (data['epoch'] !== this.#epoch) {
      this.#epoch = Number(data['epoch']);
      this.#written = '';
    }
    this.#written += String(data['text']);
    return this.#sayUpTo(this.#written);
  }

  /** What is left to say of the confirmed text. Throws CodedError `answer_refuted` where something else was said. */
  confirm(text: string): string {
    if (!text.startsWith(this.#said)) this.#disagree();
    return this.#sayUpTo(text);
  }

  #sayUpTo(text: string): string {
    if (this.#said.startsWith(text)) return '';
    if (!text.startsWith(this.#said)) this.#disagree();
    const more = text.slice(this.#said.length);
    this.#said = text;
    return more;
  }

  #disagree(): never {
    throw new CodedError(
      'answer_refuted',
      'Another attempt answers differently from the text above; do not use it, and ask again.',
    );
  }
}
