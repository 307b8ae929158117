import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { signPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { policyDigest } from '../../proof/receipts/receipt.ts';
import { STATEMENT_TYPE, VERDICT_TYPE, statementBytes, type Statements } from '../../proof/receipts/statements.ts';
import type { Attempt } from '../attestation/methods/attempt.ts';
import type { Finding, Method } from '../attestation/methods/method.ts';

/** What each method found of an attempt, in the order of the list of methods. */
export class Findings {
  readonly #attempt: Attempt;
  readonly #methods: readonly Method[];
  readonly #found = new Map<Method, Finding>();

  constructor(attempt: Attempt, methods: readonly Method[]) {
    this.#attempt = attempt;
    this.#methods = methods;
  }

  add(method: Method, finding: Finding): void {
    this.#found.set(method, finding);
  }

  get properties(): ReadonlySet<string> {
    return new Set(this.#all().flatMap(({ properties }) => properties ?? []));
  }

  get refusals(): string[] {
    return this.#all().flatMap(({ refusals }) => refusals ?? []);
  }

  get notChecked(): string[] {
    return this.#all().flatMap(({ notChecked }) => notChecked ?? []);
  }

  get measured(): object {
    return Object.fromEntries(this.#all().flatMap(({ measured }) => Object.entries(measured ?? {})));
  }

  get grounds(): object {
    return Object.fromEntries(this.#all().flatMap(({ grounds }) => Object.entries(grounds ?? {})));
  }

  #all(): Finding[] {
    return this.#methods.map((method) => this.#found.get(method) ?? method.undrawn?.(this.#attempt) ?? {});
  }
}

/**
 * The verdict as a signed document. It says what was found and nothing else: a refutation what was measured,
 * a confirmation also what it vouches for. Throws where the methods found what no promise knows: such a
 * verdict is never signed.
 */
export function signVerdict(
  signingKey: SigningKey,
  { Verdict, promises }: Statements,
  attempt: Attempt,
  findings: Findings,
): SignedPayload {
  const { parts, ticket, signed, claim } = attempt;
  const { refusals } = findings;
  const isConfirmed = refusals.length === 0;
  const verdict = Verdict.parse({
    _type: STATEMENT_TYPE,
    subject: [
      { name: 'evidence', digest: { sha256: sha256Hex(signed?.payload ?? '') } },
      { name: 'output', digest: { sha256: claim?.subject[0].digest.sha256 ?? sha256Hex('') } },
    ],
    predicateType: VERDICT_TYPE,
    predicate: {
      verifier: {
        id: `urn:countersign:attestor:${signingKey.public.id.slice(0, 32)}`,
        policies: [{ uri: 'urn:countersign:policy:v1', digest: { sha256: policyDigest(ticket.predicate.policy) } }],
      },
      timeCreated: new Date().toISOString(),
      properties: isConfirmed ? [...findings.properties] : [],
      job: parts.job,
      epoch: Math.max(1, parts.epoch),
      ticket: { sha256: sha256Hex(parts.ticketSigned.payload) },
      decision: isConfirmed ? 'confirmed' : 'refuted',
      ...findings.measured,
      ...(isConfirmed ? findings.grounds : {}),
      // In the order of the promises, so that the same findings always make the same bytes.
      notChecked: isConfirmed ? promises.notChecked.filter((word) => findings.notChecked.includes(word)) : [],
      refusals,
    },
  });
  // The schema has put the fields into the order of the promises.
  return signPayload(signingKey, statementBytes(verdict));
}
