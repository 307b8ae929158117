/**
 * The method `quorum`: an answer counts when `agree` of at most `of` workers of different operators gave it, byte for byte. It
 * catches independent cheaters, whatever the engine, at the cost of as many runs; it does not catch operators that collude.
 * Votes are sealed: Redis lets no worker read what another has committed, and nothing provisional is streamed, so that a
 * lazy worker has nothing to copy.
 */
export interface Vote {
  readonly epoch: number;
  readonly worker: string;
  readonly operator: string;
  readonly evidenceSha256: string;
  readonly outputSha256: string;
}

export type QuorumOutcome =
  | { readonly kind: 'agreed'; readonly votes: readonly Vote[] }
  | { readonly kind: 'open' }
  /** Everyone was asked and too few agree: that is nobody's guilt. */
  | { readonly kind: 'inconclusive' }
  | { readonly kind: 'same_operator' };

/** What the votes before and this one amount to. */
export function countVotes(wanted: { of: number; agree: number }, before: readonly Vote[], vote: Vote): QuorumOutcome {
  if (before.some(({ operator, worker }) => operator === vote.operator || worker === vote.worker))
    return { kind: 'same_operator' };
  const votes = [...before, vote];
  const agreeing = votes.filter(({ outputSha256 }) => outputSha256 === vote.outputSha256);
  if (agreeing.length >= wanted.agree) return { kind: 'agreed', votes: agreeing };
  const left = wanted.of - votes.length;
  const most = Math.max(
    ...votes.map(({ outputSha256 }) => votes.filter((other) => other.outputSha256 === outputSha256).length),
  );
  return most + left >= wanted.agree ? { kind: 'open' } : { kind: 'inconclusive' };
}
