/** Words of a verdict in plain sentences; what has none is shown as its code. */
interface Words {
  /** Those that are said also beside a receipt. */
  readonly shown: Readonly<Record<string, string>>;
  readonly others: Readonly<Record<string, string>>;
}

export const PROOFS: Words = {
  shown: {
    OUTPUT_RECOMPUTED_EXACT: 'An attestor computed the answer again and got the same bytes',
    OUTPUT_RECOMPUTED_WITHIN_TOLERANCE: 'An attestor computed the answer again and got the same within its tolerance',
    TOKENS_REPLAYED: 'The model would write these tokens: an attestor’s own copy finds none of them unlikely',
    QUORUM_AGREED: 'Workers of several operators gave the same answer without knowing each other’s',
    HARDWARE_ATTESTED: 'The machine showed hardware evidence that holds',
    USAGE_RECOUNTED: 'The tokens were counted again and are as many',
    USAGE_RETOKENIZED: 'The tokens of the answer were counted again from its text',
  },
  others: {
    TICKET_SIGNATURE: 'The ticket is signed by the API',
    WORKER_ENROLLED: 'The worker stands on the list of workers',
    WORKER_SIGNATURE: 'That worker signed the evidence',
    TICKET_MATCHED: 'The evidence is about this ticket and no other',
    EPOCH_CURRENT: 'The attempt was the current one',
    MODEL_DIGEST_MATCHED: 'The model is the one that was asked for',
    OUTPUT_DIGEST_MATCHED: 'The answer is the one in the evidence',
    USAGE_WITHIN_BOUNDS: 'The usage is within what was asked for',
  },
};

export const GAPS: Words = {
  shown: {},
  others: {
    OUTPUT_NOT_RECOMPUTED: 'whether the model gives this answer, as nobody computed it again',
    WEIGHTS_DECLARED_NOT_MEASURED: 'which weights the worker loaded, as it declared them',
    HARDWARE_NOT_ATTESTED: 'what machine it ran on',
  },
};

/** The sentence for a word. */
export const saysOf = ({ shown, others }: Words, word: string): string =>
  shown[word] ?? others[word] ?? word.toLowerCase().replaceAll('_', ' ');

const METHODS: Readonly<Record<string, string>> = {
  recompute: 'computed again',
  tokens: 'tokens replayed',
  quorum: 'workers of several operators agree',
  tee: 'hardware shown',
  usage: 'usage counted again',
  weights: 'weights measured',
};

/** How a job was confirmed, in a few words, from the names of its promises. */
export function howSaid(promises: readonly string[]): string {
  const said = promises.flatMap((name) => (name === 'binding' ? [] : (METHODS[name] ?? name)));
  return said.length === 0 ? 'signatures and digests agree' : said.join(', ');
}
