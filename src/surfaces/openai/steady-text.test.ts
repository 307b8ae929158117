import { expect, test } from '@jest/globals';
import type { JobEvent } from '../../core/jobs/job-events.ts';
import { SteadyText } from './steady-text.ts';

const chunk = (epoch: number, text: string): JobEvent => ({ id: [epoch, 2, 1], type: 'chunk', data: { epoch, text } });
const refuted: JobEvent = { id: [1, 4, 0], type: 'state', data: { state: 'queued', why: 'refuted', detail: 'x' } };

test('text is sent once, also where a second attempt writes the same again', () => {
  const text = new SteadyText();
  expect(text.take(chunk(1, 'In the '))).toBe('In the ');
  expect(text.take(chunk(2, 'In '))).toBe('');
  expect(text.take(chunk(2, 'the beginning'))).toBe('beginning');
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

test('a refutation before any text was sent is no error', () => {
  expect(new SteadyText().take(refuted)).toBe('');
});
