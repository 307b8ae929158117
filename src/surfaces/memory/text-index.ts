import { lexemes } from './lexemes.ts';

/** The usual weights of BM25: how soon repetitions stop to count, and how much length matters. */
const [K1, B] = [1.2, 0.75];

/** What full text says of one memory. */
export interface TextMatch {
  readonly id: string;
  readonly score: number;
  /** The share of the query's weight that the words have which stand in the text, from 0 to 1. */
  readonly coverage: number;
  /** The words of the query that the text has, as they are compared. */
  readonly words: readonly string[];
}

/** Full text over the memories of one owner, in this process's memory alone. */
export class TextIndex {
  readonly #postings = new Map<string, Map<string, number>>();
  readonly #lengths = new Map<string, number>();

  /** Puts a text in, in the place of the one that this id had. */
  put(id: string, text: string): void {
    this.remove(id, undefined);
    const words = lexemes(text);
    for (const word of words) {
      const posting = this.#postings.get(word) ?? new Map<string, number>();
      posting.set(id, (posting.get(id) ?? 0) + 1);
      this.#postings.set(word, posting);
    }
    this.#lengths.set(id, words.length);
  }

  /**
   * Takes a text out; `text` is what was put in, where the caller knows it: then only its words are looked
   * at.
   */
  remove(id: string, text: string | undefined): void {
    if (!this.#lengths.has(id)) return;
    for (const word of text === undefined ? this.#postings.keys() : new Set(lexemes(text))) {
      const posting = this.#postings.get(word);
      if (posting?.delete(id) === true && posting.size === 0) this.#postings.delete(word);
    }
    this.#lengths.delete(id);
  }

  /**
   * Texts with at least one word of the query, best first (BM25), among those that `isWanted` says; equal
   * ones by id. At most `limit`. Nothing of the others goes into it: how rare a word is among texts that the
   * caller may not see would tell which words stand there.
   */
  search(query: string, isWanted: (id: string) => boolean, limit: number): TextMatch[] {
    const lengths = new Map([...this.#lengths].filter(([id]) => isWanted(id)));
    const mean = [...lengths.values()].reduce((sum, length) => sum + length, 0) / Math.max(1, lengths.size);
    const words = [...new Set(lexemes(query))];
    const postings = words.map((word) => [...(this.#postings.get(word) ?? [])].filter(([id]) => lengths.has(id)));
    const weights = postings.map((posting) => weightOf(posting.length, lengths.size));
    const mass = weights.reduce((sum, weight) => sum + weight, 0);
    const found = new Map<string, { score: number; covered: number; words: string[] }>();
    words.forEach((word, at) => {
      const weight = weights[at] ?? 0;
      for (const [id, count] of postings[at] ?? []) {
        const length = lengths.get(id) ?? 0;
        const match = found.get(id) ?? { score: 0, covered: 0, words: [] };
        match.score += (weight * count * (K1 + 1)) / (count + K1 * (1 - B + (B * length) / Math.max(1, mean)));
        match.covered += weight;
        match.words.push(word);
        found.set(id, match);
      }
    });
    return [...found]
      .map(([id, { score, covered, words: matched }]) => ({ id, score, coverage: covered / mass, words: matched }))
      .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
      .slice(0, limit);
  }
}

/** The rarer a word is, the more it says; one that no text has says the most. */
function weightOf(having: number, all: number): number {
  return Math.log(1 + (all - having + 0.5) / (having + 0.5));
}
