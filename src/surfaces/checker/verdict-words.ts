import type { Property } from '../../proof/receipts/statements.ts';

const CHECKED = {
  TICKET_SIGNATURE: 'the ticket is signed by the service',
  WORKER_ENROLLED: 'the operator has enrolled the worker',
  WORKER_SIGNATURE: 'the worker signed its evidence',
  TICKET_MATCHED: 'it answers this very ticket',
  EPOCH_CURRENT: 'in the attempt that held',
  MODEL_DIGEST_MATCHED: 'with the model that was asked for, as the worker names it',
  OUTPUT_DIGEST_MATCHED: 'the output that is stored is the one that the worker signed',
  USAGE_WITHIN_BOUNDS: 'so much usage is possible',
  USAGE_RECOUNTED: 'the attestor counted the tokens by a run of its own',
  USAGE_RETOKENIZED: 'the attestor counted the tokens by a tokenizer of its own',
  OUTPUT_RECOMPUTED_EXACT: 'the attestor computed the same answer, byte by byte',
  OUTPUT_RECOMPUTED_WITHIN_TOLERANCE: 'the attestor computed the same numbers, within 0.0001',
  TOKENS_REPLAYED: "the attestor's copy of the model draws these tokens",
  QUORUM_AGREED: 'workers of different operators gave the same answer',
  HARDWARE_ATTESTED: 'the machine has proven itself by hardware evidence',
} as const satisfies Record<Property, string>;
const WORDS: ReadonlyMap<string, string> = new Map(Object.entries(CHECKED));

/** What an attestor vouches for by this word, in words that need no page; the word itself where it is new. */
export const checkedWords = (property: string): string => WORDS.get(property) ?? property;

/** What a verdict leaves open, in words that need no page. */
export const NOT_CHECKED: Readonly<Record<string, string>> = {
  OUTPUT_NOT_RECOMPUTED: 'whether the model gives this answer (nobody computed it again)',
  WEIGHTS_DECLARED_NOT_MEASURED: 'the weights (the operator declared them, and the worker did not measure them)',
  HARDWARE_NOT_ATTESTED: 'the machine (it showed no hardware evidence)',
};
