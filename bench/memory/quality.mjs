// How well a search finds: every set in an owner of its own, asked by meaning, by words and by both.
import { aDraft, whoseOf } from './desk.mjs';

export const MODES = ['semantic', 'text', 'hybrid'];
const DEPTH = 50;
const AT_ONCE = 500;
const K = 5;

/** The figures of a set by mode, and for each question which places came first. */
export async function measureSet(desk, { name, said, questions }) {
  const ids = await remember(desk, name, said);
  const places = new Map(ids.map((id, place) => [id, place]));
  const figures = {};
  const rankings = [];
  for (const mode of MODES) {
    const ranks = [];
    for (const [at, { query, gold, validAt }] of questions.entries()) {
      const filter = validAt === undefined ? { superseded: false } : { superseded: true, valid_at: validAt };
      const found = await desk.answers.search({ whose: whoseOf(name), query, mode, limit: DEPTH, filter });
      const order = found.map(({ entry }) => places.get(entry.id));
      ranks.push({ order, gold });
      rankings.push({ set: name, mode, question: at, gold, first: order.slice(0, 10) });
    }
    figures[mode] = figuresOf(ranks);
  }
  return { name, memories: said.length, questions: questions.length, figures, rankings };
}

/** recall_any@5 and recall_all@5, and the mean of one divided by the place of the first that answers. */
export function figuresOf(ranks) {
  const share = (isSo) => ranks.filter(isSo).length / Math.max(1, ranks.length);
  const firstOf = ({ order, gold }) => order.findIndex((place) => gold.includes(place));
  return {
    any: share(({ order, gold }) => gold.some((place) => order.slice(0, K).includes(place))),
    all: share(({ order, gold }) => gold.every((place) => order.slice(0, K).includes(place))),
    mrr:
      ranks.reduce((sum, one) => sum + (firstOf(one) < 0 ? 0 : 1 / (firstOf(one) + 1)), 0) / Math.max(1, ranks.length),
  };
}

/** The id of each, in the order in which they were said. */
async function remember(desk, owner, said) {
  const ids = [];
  for (let at = 0; at < said.length; at += AT_ONCE) {
    const page = said.slice(at, at + AT_ONCE);
    const drafts = page.map(({ text, validFrom, validTo }) =>
      aDraft(text, { valid_from: validFrom ?? null, valid_to: validTo ?? null }),
    );
    page.forEach(({ after }, place) => {
      if (after !== undefined) drafts[place].supersedes = [ids[after] ?? drafts[after - at].id];
    });
    const added = await desk.answers.add({ whose: whoseOf(owner), drafts });
    ids.push(...added.map(({ entry }) => entry.id));
  }
  return ids;
}
