import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { signPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { policyDigest } from '../../proof/receipts/receipt.ts';
import {
  STATEMENT_TYPE,
  VERDICT_TYPE,
  statementBytes,
  type Statements,
  type Verdict,
} from '../../proof/receipts/statements.ts';
import type { Attempt } from '../attestation/methods/attempt.ts';
import type { Finding, Method, VerdictFields } from '../attestation/methods/method.ts';

/** What the methods found of an attempt, taken together. */
interface Found {
  readonly properties: ReadonlySet<string>;
  readonly refusals: readonly string[];
  readonly notChecked: ReadonlySet<string>;
  readonly measured: VerdictFields;
  readonly grounds: VerdictFields;
}

/** What each method found of an attempt, in the order of the list of methods. */
export class Findings implements Found {
  readonly #attempt: Attempt;
  readonly #methods: readonly Method[];
  readonly #byMethod = new Map<Method, Finding>();
  /** Made when it is first asked for, and again after a method has added to it. */
  #found: Found | undefined;

  constructor(attempt: Attempt, methods: readonly Method[]) {
    this.#attempt = attempt;
    this.#methods = methods;
  }

  add(method: Method, finding: Finding): void {
    this.#byMethod.set(method, finding);
    this.#found = undefined;
  }

  get properties(): ReadonlySet<string> {
    return this.#together().properties;
  }

  get refusals(): readonly string[] {
    return this.#together().refusals;
  }

  get notChecked(): ReadonlySet<string> {
    return this.#together().notChecked;
  }

  get measured(): VerdictFields {
    return this.#together().measured;
  }

  get grounds(): VerdictFields {
    return this.#together().grounds;
  }

  #together(): Found {
    this.#found ??= together(
      this.#methods.map((method) => this.#byMethod.get(method) ?? method.undrawn?.(this.#attempt) ?? {}),
    );
    return this.#found;
  }
}

function together(findings: readonly Finding[]): Found {
  const properties = new Set<string>();
  const notChecked = new Set<string>();
  const refusals: string[] = [];
  const measured = {};
  const grounds = {};
  for (const finding of findings) {
    for (const word of finding.properties ?? []) properties.add(word);
    for (const word of finding.notChecked ?? []) notChecked.add(word);
    refusals.push(...(finding.refusals ?? []));
    Object.assign(measured, finding.measured);
    Object.assign(grounds, finding.grounds);
  }
  return { properties, refusals, notChecked, measured, grounds };
}

/**
 * The verdict as a signed document. It says what was found and nothing else: a refutation what was measured,
 * a confirmation also what it vouches for. Throws where the methods found what no promise knows: such a
 * verdict is never signed.
 */
export function signVerdict(
  signingKey: SigningKey,
  statements: Statements,
  attempt: Attempt,
  found: Found,
): SignedPayload {
  const { parts, ticket, signed, claim } = attempt;
  const { refusals, notChecked } = found;
  const isConfirmed = refusals.length === 0;
  // Only what the methods say is parsed here: the rest is ours, and this is done for every job.
  const { properties, ...fields } = statements.Findings.parse({
    properties: isConfirmed ? [...found.properties] : [],
    ...found.measured,
    ...(isConfirmed ? found.grounds : {}),
  });
  const verdict: Verdict = {
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
      // Where the clock of this machine or of the API is wrong: dated before its ticket, no receipt verifies.
      timeCreated: new Date(Math.max(Date.now(), Date.parse(ticket.predicate.createdAt))).toISOString(),
      properties,
      job: parts.job,
      epoch: Math.max(1, parts.epoch),
      ticket: { sha256: sha256Hex(parts.ticketSigned.payload) },
      decision: isConfirmed ? 'confirmed' : 'refuted',
      ...(isConfirmed && (ticket.predicate.price?.second ?? 0) > 0 ? { ranMs: attempt.ranMs } : {}),
      ...fields,
      // In the order of the promises, so that the same findings always make the same bytes.
      notChecked: isConfirmed ? statements.promises.notChecked.filter((word) => notChecked.has(word)) : [],
      refusals: [...refusals],
    },
  };
  return signPayload(signingKey, statementBytes(verdict));
}
