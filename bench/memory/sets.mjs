// The sets on which searches are measured. Each is an owner's memories, in the order in which they come, and
// questions with the memories that answer them. The same seed gives the same sets everywhere.
import { seeded } from '../overload/seeded.mjs';
import { FACTS, TOGETHER, UPDATES } from './facts.mjs';
import { versePairs } from './verses.mjs';

const SEED = 20_261_127;
const QUERY_WORDS = 8;
const FILLERS = 600;

/**
 * @typedef {{ text: string, after?: number, validFrom?: string, validTo?: string }} Said
 *   `after`: the place of what it takes the place of
 * @typedef {{ query: string, gold: number[], validAt?: string }} Question `gold`: places of memories
 * @typedef {{ name: string, said: Said[], questions: Question[] }} Set
 */

/** All sets for which there is what they are made of, and why the others are left out. */
export function setsOf({ sword, isSmall }) {
  const pairs = versePairs(sword);
  const sizes = isSmall
    ? [[1_200, 150]]
    : [
        [1_200, 150],
        [4_000, 300],
      ];
  const verses = pairs === undefined ? [] : sizes.map(([memories, questions]) => verseSet(pairs, memories, questions));
  const languages = Object.keys(FACTS).flatMap((language) => [factSet(language, 'other'), factSet(language, 'same')]);
  const left = pairs === undefined ? [`verses: ${sword} lacks the modules of sword-text-kjv and sword-text-web`] : [];
  return { sets: [...verses, ...languages, sessionSet()], left };
}

/** Verses of one translation, asked for by the first words of the same verse in the other. */
function verseSet(pairs, memories, questions) {
  const random = seeded(SEED);
  const corpus = pairs.slice(0, memories);
  const places = shuffled(
    corpus.map((_, at) => at),
    random,
  ).slice(0, questions);
  return {
    name: `verses-${memories}`,
    said: corpus.map(({ old }) => ({ text: old })),
    questions: places.map((at) => ({
      query: corpus[at].modern.split(' ').slice(0, QUERY_WORDS).join(' '),
      gold: [at],
    })),
  };
}

/** Facts of one language among what says nothing of them; `words`: whose the question has. */
function factSet(language, words) {
  const facts = FACTS[language];
  return {
    name: `facts-${language}-${words}-words`,
    said: [...facts.map(([text]) => ({ text })), ...fillers(FILLERS)],
    questions: facts.map(([, other, same], at) => ({ query: words === 'other' ? other : same, gold: [at] })),
  };
}

/** What was said over a year: what changed, what several memories answer together, and what held before. */
function sessionSet() {
  const said = [];
  const questions = [];
  const say = (one) => said.push(one) - 1;
  const filling = fillers(FILLERS);
  UPDATES.forEach(([before, after, query, at]) => {
    const old = say({ text: before, validTo: at });
    for (let more = 0; more < 5; more += 1) say(filling.pop());
    const now = say({ text: after, after: old, validFrom: at });
    questions.push({ query, gold: [now] });
    questions.push({ query, gold: [old], validAt: '2026-01-01T00:00:00.000Z' });
  });
  TOGETHER.forEach(([query, texts]) => {
    const gold = texts.map((text) => {
      for (let more = 0; more < 5; more += 1) say(filling.pop());
      return say({ text });
    });
    questions.push({ query, gold });
  });
  return { name: 'sessions', said: [...said, ...filling], questions };
}

const SUBJECTS = ['The neighbour', 'A colleague', 'The teacher', 'The shop on the corner', 'Our club', 'The museum'];
const VERBS = ['painted', 'repaired', 'showed', 'ordered', 'described', 'photographed', 'lost', 'borrowed'];
const THINGS = ['a wooden chair', 'the garden gate', 'an old radio', 'some curtains', 'a yellow lamp', 'two bicycles'];
const WHEN = ['before lunch', 'during the storm', 'after the concert', 'in the new year', 'on a rainy evening'];

/** Sentences that say nothing that anybody asks for, each once. */
function fillers(count) {
  const all = SUBJECTS.flatMap((who) =>
    VERBS.flatMap((did) => THINGS.flatMap((what) => WHEN.map((when) => ({ text: `${who} ${did} ${what} ${when}.` })))),
  );
  return shuffled(all, seeded(SEED)).slice(0, count);
}

function shuffled(items, random) {
  const all = [...items];
  for (let at = all.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [all[at], all[other]] = [all[other], all[at]];
  }
  return all;
}
