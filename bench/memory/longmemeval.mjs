// The retrieval part of LongMemEval (ICLR 2025, MIT) over this memory: `--data FILE` names a file of its
// format, such as `longmemeval_s_cleaned.json`, which is not part of this repository.
//
// Each question has a history of its own: sessions of turns. What is remembered are the user's turns, either
// all of a session together or each by itself; then a session stands where the first of its turns stands.
// Questions whose id ends with `_abs` have no answer in the history and are left out, as the authors do. What
// is counted: whether any, or all, of the sessions that hold the answer are among the first k.
import { readFileSync } from 'node:fs';
import { aDraft, whoseOf } from './desk.mjs';
import { MODES } from './quality.mjs';

const KS = [5, 10, 50];
/** A search answers no more than this. */
const MOST = 100;
/** A memory holds no longer text. */
const TEXT_CHARS = 16_384;
const AT_ONCE = 500;
export const GRANULARITIES = ['session', 'turn'];

/** The questions of a file that can be answered. Throws where the file is of another format. */
export function readQuestions(file) {
  const all = JSON.parse(readFileSync(file, 'utf8'));
  if (!Array.isArray(all) || all.length === 0) throw new Error(`${file} is no array of questions.`);
  all.forEach((one, at) => requireQuestion(one, `question ${at} of ${file}`));
  return all.filter(({ question_id }) => !question_id.endsWith('_abs'));
}

/** For each granularity and mode the figures of all questions and of each type, and each question's order. */
export async function measureQuestions(desk, questions, say) {
  const rankings = [];
  for (const granularity of GRANULARITIES)
    for (const [at, question] of questions.entries()) {
      const whose = whoseOf(`${granularity} ${at} ${question.question_id}`);
      await remember(desk, whose, textsOf(question, granularity));
      for (const mode of MODES) {
        const ask = { whose, query: question.question, mode, limit: MOST, filter: { superseded: false } };
        const found = await desk.answers.search(ask);
        const first = [...new Set(found.map(({ entry }) => entry.thread))].slice(0, Math.max(...KS));
        const { question_id, question_type, answer_session_ids: gold } = question;
        rankings.push({ granularity, mode, question: question_id, type: question_type, gold, first });
      }
      if ((at + 1) % 50 === 0) {
        await desk.closeOwners();
        say(`longmemeval: ${at + 1} of ${questions.length} by ${granularity}`);
      }
    }
  return { figures: figuresOf(rankings), rankings };
}

/** What is remembered of a question's history, with the session that it is from. */
export function textsOf({ haystack_sessions, haystack_session_ids }, granularity) {
  return haystack_sessions.flatMap((turns, at) => {
    const said = turns.filter(({ role }) => role === 'user').map(({ content }) => content);
    const texts = granularity === 'session' ? [said.join('\n')] : said;
    return texts
      .filter((text) => text.trim() !== '')
      .map((text) => ({ text: text.slice(0, TEXT_CHARS), session: haystack_session_ids[at] }));
  });
}

function figuresOf(rankings) {
  const groups = new Map();
  for (const one of rankings)
    for (const type of ['all', one.type]) {
      const name = [one.granularity, one.mode, type].join(' ');
      groups.set(name, [...(groups.get(name) ?? []), one]);
    }
  return [...groups].map(([name, all]) => {
    const [granularity, mode, type] = name.split(' ');
    const share = (isSo) => all.filter(isSo).length / all.length;
    const at = KS.map((k) => ({
      k,
      any: share(({ gold, first }) => gold.some((id) => first.slice(0, k).includes(id))),
      all: share(({ gold, first }) => gold.every((id) => first.slice(0, k).includes(id))),
    }));
    const places = all.map(({ gold, first }) => first.findIndex((id) => gold.includes(id)));
    const mrr = places.reduce((sum, place) => sum + (place < 0 ? 0 : 1 / (place + 1)), 0) / all.length;
    return { granularity, mode, type, questions: all.length, at, mrr };
  });
}

async function remember(desk, whose, texts) {
  for (let at = 0; at < texts.length; at += AT_ONCE) {
    const drafts = texts.slice(at, at + AT_ONCE).map(({ text, session }) => aDraft(text, { thread: session }));
    await desk.answers.add({ whose, drafts });
  }
}

function requireQuestion(one, where) {
  const isText = (value) => typeof value === 'string' && value !== '';
  const areTexts = (value) => Array.isArray(value) && value.every(isText);
  const problem = [
    [isText(one?.question_id), 'question_id'],
    [isText(one?.question_type), 'question_type'],
    [isText(one?.question), 'question'],
    [areTexts(one?.haystack_session_ids), 'haystack_session_ids'],
    [areTexts(one?.answer_session_ids), 'answer_session_ids'],
    [
      areSessions(one?.haystack_sessions) && one.haystack_sessions.length === one.haystack_session_ids?.length,
      'haystack_sessions',
    ],
  ].find(([isRight]) => !isRight);
  if (problem !== undefined) throw new Error(`${where}: ${problem[1]} is missing or of another form.`);
}

const areSessions = (value) =>
  Array.isArray(value) &&
  value.every(
    (turns) =>
      Array.isArray(turns) &&
      turns.every((turn) => typeof turn?.role === 'string' && typeof turn?.content === 'string'),
  );
