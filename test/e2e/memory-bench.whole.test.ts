import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ROOT } from '../support/redis.ts';

const user = (content: string) => ({ role: 'user', content });
const model = (content: string) => ({ role: 'assistant', content });

/** A file of LongMemEval's format, as its documentation describes it; the texts are ours. */
const QUESTIONS = [
  {
    ...{ question_id: 'q1', question_type: 'single-session-user', answer: 'a cello', question_date: '2023/05/30' },
    question: 'Which instrument did I buy in the old town?',
    haystack_session_ids: ['s1', 'answer_s2', 's3'],
    haystack_dates: ['2023/05/01', '2023/05/02', '2023/05/03'],
    haystack_sessions: [
      [user('How long do I boil an egg?'), model('Seven minutes.')],
      [
        user('Thanks!'),
        user('I bought an instrument in the old town, a cello.'),
        { ...model('Nice.'), has_answer: true },
      ],
      [user('Thanks!'), model('You are welcome.')],
    ],
    answer_session_ids: ['answer_s2'],
  },
  {
    ...{ question_id: 'q2', question_type: 'multi-session', answer: 'two', question_date: '2023/05/30' },
    question: 'How many marathons did I run?',
    haystack_session_ids: ['answer_a', 'b', 'answer_c'],
    haystack_dates: ['2023/05/01', '2023/05/02', '2023/05/03'],
    haystack_sessions: [
      [user('In spring I ran a marathon in Prague.')],
      [user('Recommend a film.'), model('Which kind?')],
      [user('Yesterday I ran my second marathon.')],
    ],
    answer_session_ids: ['answer_a', 'answer_c'],
  },
  {
    ...{
      question_id: 'q3_abs',
      question_type: 'single-session-user',
      answer: 'not known',
      question_date: '2023/05/30',
    },
    question: 'What is the name of my cat?',
    ...{ haystack_session_ids: ['s1'], haystack_dates: ['2023/05/01'], haystack_sessions: [[user('Hello')]] },
    answer_session_ids: [],
  },
];

interface Figures {
  readonly granularity: string;
  readonly mode: string;
  readonly type: string;
  readonly questions: number;
  readonly at: { readonly k: number; readonly any: number; readonly all: number }[];
  readonly mrr: number;
}

describe('npm run bench:memory -- --data FILE', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cs-longmemeval-'));
  const run = (questions: unknown, ...more: string[]) => {
    const data = join(folder, 'data.json');
    writeFileSync(data, JSON.stringify(questions));
    const words = [join(ROOT, 'bench', 'memory.mjs'), '--data', data, ...more];
    return spawnSync(process.execPath, words, { encoding: 'utf8' });
  };

  test('counts by session and by turn what the search of this memory finds, and leaves out what has no answer', () => {
    const file = join(folder, 'rankings.jsonl');
    const { stdout, status, stderr } = run(QUESTIONS, '--rankings', file);
    expect([status, stderr]).toEqual([0, '']);
    const figures = JSON.parse(stdout) as Figures[];
    const of = (granularity: string, mode: string, type = 'all') =>
      figures.find((one) => one.granularity === granularity && one.mode === mode && one.type === type);
    for (const granularity of ['session', 'turn'])
      for (const mode of ['semantic', 'text', 'hybrid']) {
        expect(of(granularity, mode)?.questions).toBe(2);
        expect(of(granularity, mode)?.at.map(({ k }) => k)).toEqual([5, 10, 50]);
      }
    expect(of('turn', 'text')).toMatchObject({ at: [{ any: 1, all: 1 }, {}, {}], mrr: 1 });
    expect(of('session', 'hybrid', 'multi-session')).toMatchObject({ questions: 1, at: [{ any: 1, all: 1 }, {}, {}] });
    const rankings = readFileSync(file, 'utf8').trim().split('\n');
    expect(rankings).toHaveLength(12);
    const texts = rankings.map((line) => JSON.parse(line) as { granularity: string; mode: string; first: string[] });
    // A session stands where the first of its turns stands, once; what no word is in stands nowhere.
    expect(texts.find(({ granularity, mode }) => granularity === 'turn' && mode === 'text')?.first[0]).toBe(
      'answer_s2',
    );
    for (const { first } of texts) expect(new Set(first).size).toBe(first.length);
  });

  test('says what is wrong with a file of another form', () => {
    const [first] = QUESTIONS;
    const { status, stderr } = run([{ ...first, haystack_session_ids: ['one'] }]);
    expect([status === 0, stderr]).toEqual([false, expect.stringContaining('haystack_sessions is missing')]);
    rmSync(folder, { recursive: true });
  });
});
