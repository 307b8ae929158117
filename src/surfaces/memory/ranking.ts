import type { TextMatch } from './text-index.ts';

/** How a search compares: by meaning, by words, or by both. */
export const SEARCH_MODES = ['hybrid', 'semantic', 'text'] as const;
export type SearchMode = (typeof SEARCH_MODES)[number];

/** Candidates of each half. */
export const CANDIDATES = 50;
/** A hit by words counts beside one by meaning where its words are this share of the query's weight. */
const GATE = 0.2;
/**
 * A hit by words with all of the query's weight counts as so many by meaning, and one with half of it as a
 * quarter of that.
 */
const WORDS_WEIGHT = 6;
/** The constant of reciprocal rank fusion: how much less the second place counts than the first. */
const FUSION = 20;

/** What the vectors say of one memory. */
export interface MeaningMatch {
  readonly id: string;
  /** The cosine of the angle between the vectors, from -1 to 1. */
  readonly similarity: number;
}

/** Where a memory stands in a half of a search, from 1, and why. */
export interface Ranked {
  readonly id: string;
  readonly score: number;
  readonly semantic: { readonly rank: number; readonly similarity: number } | null;
  /** `counted`: whether its words are enough of the query to count in a hybrid search. */
  readonly text: {
    readonly rank: number;
    readonly score: number;
    readonly coverage: number;
    readonly counted: boolean;
    readonly words: readonly string[];
  } | null;
}

/**
 * Puts both halves of a search, each best first, into one order. In a hybrid search a hit by words counts the
 * more, the more of the query they cover, and not at all below a share of it: with equal votes, fifty
 * memories that share a word with the question outvote the one that answers it, and the one that has all its
 * words is outvoted by what only means something alike. `npm run bench:memory` says what that is worth. Equal
 * ones stand by id.
 */
export function rank(mode: SearchMode, meaning: readonly MeaningMatch[], text: readonly TextMatch[]): Ranked[] {
  const byId = new Map<string, Ranked>();
  meaning.forEach(({ id, similarity }, at) => {
    byId.set(id, { id, score: 0, semantic: { rank: at + 1, similarity }, text: null });
  });
  let counting = 0;
  text.forEach(({ id, score, coverage, words }, at) => {
    const counted = coverage >= GATE;
    // Those that do not count leave no gap between those that do.
    if (counted) counting += 1;
    const place = counted ? counting : at + 1;
    const known = byId.get(id) ?? { id, score: 0, semantic: null };
    byId.set(id, { ...known, text: { rank: mode === 'hybrid' ? place : at + 1, score, coverage, counted, words } });
  });
  return [...byId.values()]
    .map((one) => ({ ...one, score: scoreOf(mode, one) }))
    .filter(({ score }) => score > -Infinity)
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
}

function scoreOf(mode: SearchMode, { semantic, text }: Ranked): number {
  switch (mode) {
    case 'semantic':
      return semantic?.similarity ?? -Infinity;
    case 'text':
      return text?.score ?? -Infinity;
    case 'hybrid': {
      const shares = [
        ...(semantic === null ? [] : [1 / (FUSION + semantic.rank)]),
        ...(text?.counted === true ? [(WORDS_WEIGHT * text.coverage ** 2) / (FUSION + text.rank)] : []),
      ];
      return shares.length === 0 ? -Infinity : shares.reduce((sum, share) => sum + share, 0);
    }
  }
}
