import { sha256Hex } from '../../../ground/blobs/sha256.ts';
import type { SignedPayload } from '../../../proof/receipts/dsse.ts';
import type { Evidence, Property } from '../../../proof/receipts/statements.ts';
import type { Attempt } from './attempt.ts';
import type { Finding, Method } from './method.ts';

export interface Vote {
  readonly epoch: number;
  readonly worker: string;
  readonly operator: string;
  readonly evidenceSha256: string;
  readonly outputSha256: string;
}

interface Wanted {
  readonly of: number;
  readonly agree: number;
}

/**
 * The method `quorum`: an answer counts when `agree` of at most `of` workers of different operators gave it,
 * byte for byte. It catches independent cheaters, whatever the engine, at the cost of as many runs. It does
 * not catch operators that collude. Votes are sealed: Redis lets no worker read what another has committed,
 * and nothing provisional is streamed, so that a lazy worker has nothing to copy.
 */
export const quorum: Method<Property> = {
  name: 'quorum',
  stage: 'last',

  /**
   * Enough workers must be there, and enough operators enrolled; whether those who vote are of different
   * operators, the attestor judges.
   */
  async unavailable({ model, policy }, heard) {
    if (policy.quorum === undefined) return undefined;
    const { of } = policy.quorum;
    const count = await heard.workersOf(model);
    if (count < of) return `A quorum of ${of} was asked for, and ${count} workers serve ${model.name}.`;
    const operators = (await heard.operatorsOf(model)) ?? of;
    return operators < of
      ? `A quorum of ${of} operators was asked for, and workers of ${operators} are enrolled for ${model.name}.`
      : undefined;
  },

  isDrawn: ({ ticket }) => ticket.predicate.policy.quorum !== undefined,

  async check(attempt) {
    const { ticket, evidence, signed, parts } = attempt;
    const wanted = ticket.predicate.policy.quorum;
    if (wanted === undefined || signed === undefined) throw new Error(`${parts.job} has no quorum to count.`);
    const before = (await parts.readVotes()).map((vote) => voteOf(attempt, vote.evidence, vote.signed));
    return findingOf(wanted, countVotes(wanted, before, voteOf(attempt, evidence, signed)));
  },
};

/** An attempt as a vote, in the name of whoever runs its worker. */
function voteOf({ parts }: Attempt, { subject, predicate }: Evidence, signed: SignedPayload): Vote {
  const { epoch } = predicate;
  const worker = predicate.worker.id;
  return {
    epoch,
    worker,
    operator: parts.operatorOf(worker) ?? worker,
    evidenceSha256: sha256Hex(signed.payload),
    outputSha256: subject[0].digest.sha256,
  };
}

function findingOf({ of, agree }: Wanted, outcome: QuorumOutcome): Finding<Property> {
  switch (outcome.kind) {
    case 'agreed':
      return {
        properties: ['QUORUM_AGREED'],
        grounds: {
          quorum: {
            of,
            agree,
            votes: outcome.votes.map(({ epoch, worker, operator, evidenceSha256 }) => ({
              epoch,
              worker,
              operator,
              evidence: { sha256: evidenceSha256 },
            })),
          },
        },
      };
    case 'same_operator':
      return { refusals: ['QUORUM_SAME_OPERATOR'] };
    case 'open':
      return {
        instead: { action: { kind: 'close', why: 'voted' }, code: 'attempts_exhausted', detail: 'one of a quorum' },
      };
    case 'inconclusive':
      return {
        instead: {
          action: { kind: 'end', state: 'failed' },
          code: 'inconclusive',
          detail: `Too few of ${of} workers agreed; none of them is blamed.`,
        },
      };
  }
}

type QuorumOutcome =
  | { readonly kind: 'agreed'; readonly votes: readonly Vote[] }
  | { readonly kind: 'open' }
  /** All workers were asked and too few agree. None of them is refuted for it. */
  | { readonly kind: 'inconclusive' }
  | { readonly kind: 'same_operator' };

/** What the votes before and this one amount to. */
export function countVotes(wanted: Wanted, before: readonly Vote[], vote: Vote): QuorumOutcome {
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
