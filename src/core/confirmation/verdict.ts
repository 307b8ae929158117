import type { Refusal } from '../attestation/refusal.ts';
import type { TokensResult } from '../attestation/tokens.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { signPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { policyDigest } from '../../proof/receipts/receipt.ts';
import { STATEMENT_TYPE, VERDICT_TYPE, statementBytes, type Evidence, type Property, type Ticket, type Verdict } from '../../proof/receipts/statements.ts';
import type { Usage } from '../../proof/receipts/fields.ts';
import type { Hardware } from '../../proof/receipts/promises/tee.ts';
import type { CaseFile } from './case-file.ts';

/** What the methods beyond binding found of this attempt. */
export interface Findings {
  readonly properties: readonly Property[];
  readonly recomputed: { readonly maxAbsDiff: number | undefined } | undefined;
  readonly replayed: (TokensResult['measured'] & { readonly calibration: string }) | undefined;
  /** By the attestor's own tokenizer. */
  readonly usage?: Usage;
}

export const NONE: Findings = { properties: [], recomputed: undefined, replayed: undefined };

/** The verdict as a signed document. It says what was found and nothing else; deciding is the judge's. */
export function signVerdict(
  signingKey: SigningKey,
  file: CaseFile,
  ticket: Ticket,
  ticketSigned: SignedPayload,
  said: {
    evidence: SignedPayload | undefined;
    outputSha256: string;
    decision: 'confirmed' | 'refuted';
    properties: Property[];
    found: Findings;
    quorum?: Verdict['predicate']['quorum'] | undefined;
    hardware?: Hardware | undefined;
    notChecked: Verdict['predicate']['notChecked'];
    refusals: Refusal[];
  },
): SignedPayload {
  const { recomputed, replayed } = said.found;
  const verdict: Verdict = {
    _type: STATEMENT_TYPE,
    subject: [
      { name: 'evidence', digest: { sha256: sha256Hex(said.evidence?.payload ?? '') } },
      { name: 'output', digest: { sha256: said.outputSha256 } },
    ],
    predicateType: VERDICT_TYPE,
    predicate: {
      verifier: {
        id: `urn:countersign:attestor:${signingKey.public.id.slice(0, 32)}`,
        policies: [{ uri: 'urn:countersign:policy:v1', digest: { sha256: policyDigest(ticket.predicate.policy) } }],
      },
      timeCreated: new Date().toISOString(),
      properties: said.properties,
      job: file.id,
      epoch: Math.max(1, file.epoch),
      ticket: { sha256: sha256Hex(ticketSigned.payload) },
      decision: said.decision,
      recompute: {
        promisedShare: ticket.predicate.policy.recompute,
        drawn: recomputed !== undefined,
        ...(recomputed?.maxAbsDiff === undefined || !Number.isFinite(recomputed.maxAbsDiff)
          ? {}
          : { maxAbsDiff: recomputed.maxAbsDiff }),
      },
      ...(ticket.predicate.policy.tokens === undefined
        ? {}
        : { tokens: { promisedShare: ticket.predicate.policy.tokens, ...replayOf(replayed) } }),
      ...(said.found.usage === undefined ? {} : { usage: said.found.usage }),
      ...(said.quorum === undefined ? {} : { quorum: said.quorum }),
      ...(said.hardware === undefined ? {} : { hardware: said.hardware }),
      notChecked: said.notChecked,
      refusals: said.refusals,
    },
  };
  return signPayload(signingKey, statementBytes(verdict));
}

function replayOf(replayed: Findings['replayed']) {
  if (replayed === undefined) return { drawn: false };
  const { tokens, margin, limit, calibration } = replayed;
  return { drawn: true, tokens, margin, limit, calibration: { sha256: calibration } };
}

/** What a confirmation owns up to. */
export function notChecked(
  evidence: Evidence,
  recomputed: boolean,
  attested: boolean,
): Verdict['predicate']['notChecked'] {
  return [
    ...(recomputed ? [] : (['OUTPUT_NOT_RECOMPUTED'] as const)),
    ...(evidence.predicate.model.measured ? [] : (['WEIGHTS_DECLARED_NOT_MEASURED'] as const)),
    ...(attested ? [] : (['HARDWARE_NOT_ATTESTED'] as const)),
  ];
}
