import { spanning } from '../../ground/tracing/spans.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { INLINE_BYTES } from '../../proof/tasks/task-input.ts';
import { STATEMENTS } from '../../proof/receipts/statements.ts';
import type { Attempt } from '../attestation/methods/attempt.ts';
import { STAGES, type Finding, type Method } from '../attestation/methods/method.ts';
import { METHODS } from '../attestation/methods/methods.ts';
import type { JobSize } from '../forecast/job-size.ts';
import type { Candidates } from './candidates.ts';
import type { CaseFile } from './case-file.ts';
import type { Confirmation } from './confirmation.ts';
import { beginChecks } from './case-spans.ts';
import { openAttempt, type AttemptSources } from './open-attempt.ts';
import type { Ruling } from './rulings.ts';
import type { Suspicions } from './suspicions.ts';
import { Findings, signVerdict } from './verdict.ts';

/** What a case comes to: a confirmation, or another ruling. */
export type Judged =
  | { readonly kind: 'confirmed'; readonly confirmation: Confirmation }
  | { readonly kind: 'rule'; readonly ruling: Ruling };

/**
 * What the quick checks lead to: a judgement now, slower methods first, or nothing, because the claimant did
 * not sign what is stored.
 */
export type Judgement = Judged | { readonly kind: 'slow' } | { readonly kind: 'ignored' };

export interface JudgeParts extends AttemptSources {
  readonly signingKey: SigningKey;
  readonly suspicions: Suspicions;
  readonly candidates: Candidates;
  /** By default, all methods of this version. */
  readonly methods?: readonly Method[];
}

const SLOW_CHECK_MS = 300_000;
/** A check that takes moments is not broken off. */
const NEVER = new AbortController().signal;

/**
 * Checks committed evidence and writes the verdict. It holds no state of its own: any attestor may judge any
 * case.
 */
export class Judge {
  readonly #parts: JudgeParts;
  readonly #methods: readonly Method[];

  constructor(parts: JudgeParts) {
    this.#parts = parts;
    this.#methods = parts.methods ?? METHODS;
  }

  /** The methods that take moments; `slow` where the attempt was drawn for one that takes longer. */
  judgeQuickly(file: CaseFile): Promise<Judgement> {
    return this.#judge(file, false);
  }

  /**
   * All methods that this attempt was drawn for; the quick ones are made again, since this can be much later.
   * Undefined where the claimant did not sign what is stored.
   * Throws where this attestor cannot run the model, or its engine fails: the case is then another
   * attestor's, or for later.
   */
  async judgeFully(file: CaseFile): Promise<Judged | undefined> {
    const judgement = await this.#judge(file, true);
    if (judgement.kind === 'slow') throw new Error(`${file.id} was not judged to the end.`);
    return judgement.kind === 'ignored' ? undefined : judgement;
  }

  #judge(file: CaseFile, isSlow: boolean): Promise<Judgement> {
    return spanning(
      beginChecks(file),
      () => this.#judged(file, isSlow),
      (judgement) => ({ 'countersign.outcome': outcomeOf(judgement) }),
    );
  }

  async #judged(file: CaseFile, isSlow: boolean): Promise<Judgement> {
    const refusedBefore = refutedBefore(file);
    if (refusedBefore !== undefined) return { kind: 'rule', ruling: refusedBefore };
    const attempt = openAttempt(file, this.#parts);
    const findings = new Findings(attempt, this.#methods);
    for (const stage of STAGES) {
      const { properties } = findings;
      const drawn = this.#methods.filter((method) => method.stage === stage && method.isDrawn(attempt, properties));
      if (stage === 'slow' && !isSlow && drawn.length > 0) return { kind: 'slow' };
      if (stage === 'slow' && isSlow) requireDrawn(attempt, drawn);
      const { ignored, instead } = await check(attempt, drawn, findings);
      if (ignored !== undefined) return { kind: 'ignored' };
      if (stage === 'slow' && drawn.length > 0 && instead === undefined) await this.#suspect(attempt, findings);
      if (findings.refusals.length > 0) return { kind: 'rule', ruling: await this.#refuted(file, attempt, findings) };
      if (instead !== undefined) return { kind: 'rule', ruling: { ...about(file), ...instead } };
    }
    const output = await this.#keep(attempt);
    const confirmation = {
      file,
      ticket: attempt.parts.ticketSigned,
      evidence: requireSigned(attempt),
      verdict: this.#sign(attempt, findings),
      output,
      size: sizeOf(attempt),
      tookMs: attempt.ranMs,
    };
    return { kind: 'confirmed', confirmation };
  }

  /** A slow method that holds speaks for the worker, and one that refutes speaks against it. */
  async #suspect(attempt: Attempt, { refusals }: Findings): Promise<void> {
    await this.#parts.suspicions.record({
      job: attempt.parts.job,
      epoch: attempt.parts.epoch,
      worker: attempt.worker,
      model: attempt.ticket.predicate.model.name,
      isFlagged: refusals.length > 0,
    });
  }

  /**
   * A large output is kept where no worker can reach it, before it is confirmed. Returns a small one, which
   * stands in the record.
   */
  async #keep(attempt: Attempt): Promise<Buffer | undefined> {
    const output = Buffer.from(await attempt.output());
    if (attempt.evidence.predicate.outputBytes <= INLINE_BYTES) return output;
    await this.#parts.blobs.kept.of(attempt.parts.job).put(output);
    return undefined;
  }

  /** Another worker may try, while there is one. */
  async #refuted(file: CaseFile, attempt: Attempt, findings: Findings): Promise<Ruling> {
    const isLast = await this.#parts.candidates.areUsedUp(file, true);
    return {
      ...about(file),
      action: { kind: 'close', why: 'refuted', isLast },
      code: 'refuted',
      detail: findings.refusals.join(' '),
      verdict: { signed: this.#sign(attempt, findings), field: file.field },
    };
  }

  #sign(attempt: Attempt, findings: Findings) {
    const { signingKey, statements = STATEMENTS } = this.#parts;
    return signVerdict(signingKey, statements, attempt, findings);
  }
}

/** What is told of a judgement: its kind, and of another ruling its code. */
const outcomeOf = (judgement: Judgement): string =>
  judgement.kind === 'rule' ? judgement.ruling.code : judgement.kind;

function sizeOf({ ticket }: Attempt): JobSize {
  const { task, params, inputBytes } = ticket.predicate;
  return { task, maxTokens: params.max_tokens, inputBytes };
}

/**
 * A worker whose answer was refuted is not given the job again, and what it claims all the same is not
 * judged: else it would only have to answer until an attempt is not drawn. Its attempt is not counted.
 */
function refutedBefore(file: CaseFile): Ruling | undefined {
  const before = file.attempts.some(
    ({ epoch, worker, closed }) => epoch < file.epoch && worker === file.claimant && closed?.why === 'refuted',
  );
  const action = { kind: 'close', why: 'void' } as const;
  return before ? { ...about(file), action, code: 'attempts_exhausted', detail: 'WORKER_REFUTED_BEFORE' } : undefined;
}

function requireSigned({ parts, signed }: Attempt) {
  if (signed === undefined) throw new Error(`There is no signed evidence of ${parts.job}.`);
  return signed;
}

const about = ({ id, epoch }: CaseFile) => ({ id, epoch, phases: ['attesting'] as const });

/** An attestor without the model cannot know for which of its methods another one has drawn this attempt. */
function requireDrawn({ engine, ticket }: Attempt, drawn: readonly Method[]): void {
  if (drawn.length === 0 && engine === undefined)
    throw new Error(`This attestor cannot compute ${ticket.predicate.model.name} again.`);
}

/**
 * Makes the checks of one stage, up to the first that does not hold, and returns what that one found; nothing
 * where all hold.
 */
async function check(attempt: Attempt, drawn: readonly Method[], findings: Findings): Promise<Finding> {
  for (const method of drawn) {
    const signal = method.stage === 'slow' ? AbortSignal.timeout(SLOW_CHECK_MS) : NEVER;
    const finding = await method.check(attempt, signal);
    findings.add(method, finding);
    if (finding.ignored !== undefined || finding.instead !== undefined || (finding.refusals ?? []).length > 0)
      return finding;
  }
  return {};
}
