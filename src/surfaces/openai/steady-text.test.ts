import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { JobEvent } from '../../core/jobs/job-events.ts';
import { SteadyText } from './steady-text.ts';

const piece = (epoch: number, place: number, text: string): JobEvent => ({
  id: [epoch, 2, place],
  type: 'chunk',
  data: { epoch, text },
});
const chunk = (epoch: number, text: string) => piece(epoch, 1, text);
const refuted: JobEvent = { id: [1, 4, 0], type: 'state', data: { state: 'queued', why: 'refuted', detail: 'x' } };

test('text is sent once, also where a second attempt writes the same again', () => {
  const text = new SteadyText();
  expect(text.take(chunk(1, 'In the '))).toBe('In the ');
  expect(text.take(chunk(2, 'In '))).toBe('');
  expect(text.take(piece(2, 2, 'the beginning'))).toBe('beginning');
  expect(text.confirm('In the beginning.')).toBe('.');
});

test('a different second attempt, a refutation and a different confirmed text are errors', () => {
  for (const end of [
    (text: SteadyText) => text.take(chunk(2, 'Out')),
    (text: SteadyText) => text.take(refuted),
    (text: SteadyText) => text.confirm('Out'),
  ]) {
    const text = new SteadyText();
    text.take(chunk(1, 'In'));
    expect(() => end(text)).toThrow(expect.objectContaining({ code: 'answer_refuted' }));
  }
});

test('whichever pieces are lost, and however they are cut: what is sent is the confirmed text', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(
      fc.array(text, { maxLength: 12 }),
      fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
      (all, kept) => {
        const steady = new SteadyText();
        const pieces = all.map((one, at) => piece(1, at + 1, one)).filter((_, at) => kept[at]);
        const sent = pieces.map((one) => steady.take(one)).join('');
        expect(sent + steady.confirm(all.join(''))).toBe(all.join(''));
      },
    ),
  );
});

test('a refutation before any text was sent is no error', () => {
  expect(new SteadyText().take(refuted)).toBe('');
});
