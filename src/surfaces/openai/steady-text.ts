import { CodedError } from '../../ground/errors/coded-error.ts';
import type { JobEvent } from '../../core/jobs/job-events.ts';

/**
 * The provisional text of a job, for a client that cannot take a word back. Another attempt may write the
 * same text again; it is sent once. The client gets an error where another attempt writes a different text,
 * where the attestor refutes the text that was sent, or where it confirms a different one. After a piece that
 * is missing, lost on its way or forgotten since, nothing is sent before the confirmed text.
 */
export class SteadyText {
  #sent = '';
  #written = '';
  #epoch = 0;
  #place = 0;
  #hasGap = false;

  /** The new text after this event; "" where there is none. Throws CodedError `answer_refuted`. */
  take({ id: [, , place], type, data }: JobEvent): string {
    if (type === 'state') {
      if (data['why'] === 'refuted' && this.#sent !== '')
        throw new CodedError(
          'answer_refuted',
          `The attestor refuted the text above; do not use it. (${String(data['detail'])})`,
        );
      return '';
    }
    if (data['epoch'] !== this.#epoch) {
      this.#epoch = Number(data['epoch']);
      this.#written = '';
      this.#place = 0;
      this.#hasGap = false;
    }
    this.#place += 1;
    this.#hasGap ||= place !== this.#place;
    if (this.#hasGap) return '';
    this.#written += String(data['text']);
    return this.#sendUpTo(this.#written);
  }

  /** The rest of the confirmed text. Throws CodedError `answer_refuted` where a different text was sent. */
  confirm(text: string): string {
    if (!text.startsWith(this.#sent)) this.#disagree();
    return this.#sendUpTo(text);
  }

  #sendUpTo(text: string): string {
    if (this.#sent.startsWith(text)) return '';
    if (!text.startsWith(this.#sent)) this.#disagree();
    const more = text.slice(this.#sent.length);
    this.#sent = text;
    return more;
  }

  #disagree(): never {
    throw new CodedError(
      'answer_refuted',
      'Another attempt gave a different answer than the text above; do not use it, and ask again.',
    );
  }
}
