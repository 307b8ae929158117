import type { Redis } from 'ioredis';
import { checkBinding, type BindingResult } from '../attestation/binding.ts';
import type { Refusal } from '../attestation/refusal.ts';
import { checkRecompute } from '../attestation/recompute.ts';
import { countVotes } from '../attestation/quorum.ts';
import { checkTokens, type TokensResult } from '../attestation/tokens.ts';
import { isRecounted, recountUsage } from '../attestation/usage.ts';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { canReplay, type Engine } from '../engines/engine.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { INLINE_BYTES, MAX_INPUT_BYTES, MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { decodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import type { Evidence, Ticket, Verdict, Property } from '../../proof/receipts/statements.ts';
import type { AuditDraws } from './audit-draws.ts';
import type { CalibrationFile } from '../attestation/calibrations.ts';
import type { CaseFile } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import type { HardwareSessions } from './hardware-sessions.ts';
import type { Ruling } from './rulings.ts';
import type { Suspicions } from './suspicions.ts';
import { NONE, notChecked, signVerdict, type Findings } from './verdict.ts';
import { voteOf, votesBefore } from './votes.ts';

/** What the quick checks lead to: a ruling now, or slower methods first. */
export type Judgement = { readonly kind: 'rule'; readonly ruling: Ruling } | { readonly kind: 'slow' };

export interface JudgeParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly blobs: BlobStore;
  readonly signingKey: SigningKey;
  readonly keyring: Keyring;
  readonly enrolled: EnrolledWorkers;
  readonly catalog: Catalog;
  /** Engines of the models that this attestor can compute again. */
  readonly engines: ReadonlyMap<string, Engine>;
  /** What honest machines do with a model, by its digest; with one, its tokens can be replayed. */
  readonly calibrations: ReadonlyMap<string, CalibrationFile>;
  readonly draws: AuditDraws;
  readonly suspicions: Suspicions;
  /** What was found of workers' machines; undefined where this attestor judges none. */
  readonly hardware: HardwareSessions | undefined;
  /** The share of jobs that is computed again beyond what their tickets promise. */
  readonly auditShare: number;
}

const RECOMPUTE_MS = 300_000;

/** Checks committed evidence and writes the verdict. It holds no state of its own: any attestor may judge any case. */
export class Judge {
  readonly #parts: JudgeParts;

  constructor(parts: JudgeParts) {
    this.#parts = parts;
  }

  /** The methods that take moments. */
  async judgeQuickly(file: CaseFile): Promise<Judgement> {
    const { ticket, ticketSigned } = readTicket(file);
    const binding = await this.#bind(file, ticket, ticketSigned);
    if (!binding.ok)
      return { kind: 'rule', ruling: this.#refuted(file, ticket, ticketSigned, binding, [binding.refusal], NONE) };
    if (this.#lacksHardware(ticket, binding.evidence))
      return {
        kind: 'rule',
        ruling: this.#refuted(file, ticket, ticketSigned, binding, ['HARDWARE_NOT_ATTESTED'], NONE),
      };
    if (this.#isDrawn('tokens', file, ticket) || this.#isRecomputed(file, ticket)) return { kind: 'slow' };
    const engine = this.#engineOf(ticket);
    if (engine === undefined || !isRecounted(engine, ticket, binding.evidence))
      return { kind: 'rule', ruling: await this.#decide(file, ticket, ticketSigned, binding, NONE) };
    const usage = recountUsage(engine, ticket, binding.evidence, await this.#input(file.id, ticket), binding.output);
    if (usage === undefined)
      return {
        kind: 'rule',
        ruling: this.#refuted(file, ticket, ticketSigned, binding, ['USAGE_MISCOUNTED'], NONE),
      };
    const found: Findings = { ...NONE, properties: ['USAGE_RETOKENIZED'], usage };
    return { kind: 'rule', ruling: await this.#decide(file, ticket, ticketSigned, binding, found) };
  }

  /**
   * All methods that this attempt was drawn for; the quick ones are made again, since this can be much later. Throws where
   * this attestor cannot run the model, or its engine fails: the case is then somebody else's or for later.
   */
  async judgeFully(file: CaseFile): Promise<Ruling> {
    const { ticket, ticketSigned } = readTicket(file);
    const binding = await this.#bind(file, ticket, ticketSigned);
    if (!binding.ok) return this.#refuted(file, ticket, ticketSigned, binding, [binding.refusal], NONE);
    if (this.#lacksHardware(ticket, binding.evidence))
      return this.#refuted(file, ticket, ticketSigned, binding, ['HARDWARE_NOT_ATTESTED'], NONE);
    const engine = this.#engineOf(ticket);
    if (engine === undefined) throw new Error(`This attestor cannot compute ${ticket.predicate.model.name} again.`);
    const input = await this.#input(file.id, ticket);
    const refusals: Refusal[] = [];
    const properties: Property[] = [];
    let [recomputed, replayed]: [Findings['recomputed'], Findings['replayed']] = [undefined, undefined];
    // The cheaper one first: what it refutes need not be computed again.
    if (this.#isDrawn('tokens', file, ticket)) {
      const result = await this.#replay(engine, file, ticket, binding, input);
      refusals.push(...result.refusals);
      properties.push(...result.properties);
      replayed = result.replayed;
    }
    if (refusals.length === 0 && this.#isRecomputed(file, ticket)) {
      const signal = AbortSignal.timeout(RECOMPUTE_MS);
      const result = await checkRecompute(engine, ticket, binding.evidence, input, binding.output, signal);
      refusals.push(...result.refusals);
      properties.push(...result.properties);
      recomputed = { maxAbsDiff: result.maxAbsDiff };
    }
    const found: Findings = { properties: [...new Set(properties)], recomputed, replayed };
    await this.#parts.suspicions.record({
      job: file.id,
      epoch: file.epoch,
      worker: binding.evidence.predicate.worker.id,
      model: ticket.predicate.model.name,
      isFlagged: refusals.length > 0,
    });
    if (refusals.length > 0) return this.#refuted(file, ticket, ticketSigned, binding, refusals, found);
    return this.#decide(file, ticket, ticketSigned, binding, found);
  }

  /** What every method of one attempt held: a confirmation, or a vote where the ticket wants a quorum. */
  async #decide(
    file: CaseFile,
    ticket: Ticket,
    ticketSigned: SignedPayload,
    binding: Extract<BindingResult, { ok: true }>,
    found: Findings,
  ): Promise<Ruling> {
    const { quorum } = ticket.predicate.policy;
    if (quorum === undefined) return this.#confirmed(file, ticket, ticketSigned, binding, found);
    const { redis, keys, enrolled } = this.#parts;
    const own = voteOf(enrolled, file.epoch, binding.evidence, binding.signed);
    const outcome = countVotes(quorum, await votesBefore(redis, keys, enrolled, file), own);
    const about = { id: file.id, epoch: file.epoch, phases: ['attesting'] as const };
    switch (outcome.kind) {
      case 'agreed':
        return this.#confirmed(
          file,
          ticket,
          ticketSigned,
          binding,
          { ...found, properties: [...found.properties, 'QUORUM_AGREED'] },
          {
            ...quorum,
            votes: outcome.votes.map(({ epoch, worker, operator, evidenceSha256 }) => ({
              epoch,
              worker,
              operator,
              evidence: { sha256: evidenceSha256 },
            })),
          },
        );
      case 'open':
        return {
          ...about,
          action: { kind: 'close', why: 'voted' },
          code: 'attempts_exhausted',
          detail: 'one of a quorum',
        };
      case 'same_operator':
        return this.#refuted(file, ticket, ticketSigned, binding, ['QUORUM_SAME_OPERATOR'], found);
      case 'inconclusive':
        return {
          ...about,
          action: { kind: 'end', state: 'failed' },
          code: 'inconclusive',
          detail: `Too few of ${quorum.of} workers agreed; none of them is blamed.`,
        };
    }
  }

  async #replay(
    engine: Engine,
    file: CaseFile,
    ticket: Ticket,
    binding: Extract<BindingResult, { ok: true }>,
    input: unknown,
  ): Promise<TokensResult & { replayed: Findings['replayed'] }> {
    const calibration = this.#parts.calibrations.get(engine.model.sha256);
    if (calibration === undefined || !canReplay(engine))
      throw new Error(`This attestor cannot replay tokens of ${engine.model.name}.`);
    const result = await checkTokens(
      engine,
      calibration.calibration,
      ticket,
      binding.evidence,
      input,
      binding.output,
      await this.#tokens(file, binding.evidence),
      AbortSignal.timeout(RECOMPUTE_MS),
    );
    return { ...result, replayed: { ...result.measured, calibration: calibration.sha256 } };
  }

  async #tokens(file: CaseFile, evidence: Evidence): Promise<Buffer | undefined> {
    const { redis, keys, blobs } = this.#parts;
    if (evidence.predicate.tokens === undefined) return undefined;
    const key = keys.evidence(file.id);
    const field = `${file.field}:t`;
    if ((await redis.hstrlen(key, field)) <= INLINE_BYTES) {
      const inline = await redis.hget(key, field);
      if (inline !== null) return Buffer.from(inline, 'base64');
    }
    return blobs.get(evidence.predicate.tokens.sha256, MAX_OUTPUT_BYTES).catch(() => undefined);
  }

  #isDrawn(method: 'recompute' | 'tokens', file: CaseFile, ticket: Ticket): boolean {
    const share = ticket.predicate.policy[method] ?? 0;
    return this.#parts.draws.isDrawn(method, share, file.id, file.epoch, file.createdMs);
  }

  /** As the ticket promises, or because the attestor audits more than it promised; nobody can tell these apart beforehand. */
  #isRecomputed(file: CaseFile, ticket: Ticket): boolean {
    if (this.#isDrawn('recompute', file, ticket)) return true;
    const engine = this.#engineOf(ticket);
    return (
      engine !== undefined &&
      engine.repeatable !== 'no' &&
      this.#parts.draws.isDrawn('audit', this.#parts.auditShare, file.id, file.epoch, file.createdMs)
    );
  }

  /** Evidence that is asked for must hold when the verdict is made. */
  #lacksHardware({ predicate: { policy, model } }: Ticket, evidence: Evidence): boolean {
    return policy.tee === true && this.#parts.hardware?.of(evidence.predicate.worker.id, model) === undefined;
  }

  /** The attestor's own engine for just this model, if it has one. */
  #engineOf(ticket: Ticket): Engine | undefined {
    const { name, sha256 } = ticket.predicate.model;
    const engine = this.#parts.engines.get(name);
    return engine?.model.sha256 === sha256 ? engine : undefined;
  }

  #bind(file: CaseFile, ticket: Ticket, ticketSigned: SignedPayload): Promise<BindingResult> {
    const { keyring, enrolled, catalog, blobs } = this.#parts;
    const apiKey = keyring.find('api', ticketSigned.keyId, Date.parse(ticket.predicate.createdAt));
    return checkBinding({
      job: file.id,
      epoch: file.epoch,
      ticket,
      ticketSigned,
      claimant: file.claimant,
      statement: file.statement,
      measured: catalog.get(ticket.predicate.model.name)?.engine !== 'openai',
      apiKey: 'refused' in apiKey ? undefined : apiKey,
      keyOf: (worker) => enrolled.find(worker, file.nowMs),
      output: async (digest) => {
        if (file.inlineOutput !== undefined) return file.inlineOutput;
        const bytes = await blobs.get(digest, MAX_OUTPUT_BYTES).catch(() => undefined);
        return bytes !== undefined && bytes.length > INLINE_BYTES ? bytes.toString('utf8') : undefined;
      },
    });
  }

  async #input(id: string, ticket: Ticket): Promise<unknown> {
    const digest = ticket.subject[0].digest.sha256;
    const inline = await this.#parts.redis.hget(this.#parts.keys.ticket(id), 'input');
    const text = inline ?? (await this.#parts.blobs.get(digest, MAX_INPUT_BYTES)).toString('utf8');
    if (sha256Hex(text) !== digest) throw new Error(`The input of ${id} is not the one of its ticket.`);
    return JSON.parse(text);
  }

  #confirmed(
    file: CaseFile,
    ticket: Ticket,
    ticketSigned: SignedPayload,
    binding: Extract<BindingResult, { ok: true }>,
    found: Findings,
    quorum?: Verdict['predicate']['quorum'],
  ): Ruling {
    const hardware = this.#parts.hardware?.of(binding.evidence.predicate.worker.id, ticket.predicate.model);
    const verdict = signVerdict(this.#parts.signingKey, file, ticket, ticketSigned, {
      evidence: binding.signed,
      outputSha256: binding.evidence.subject[0].digest.sha256,
      decision: 'confirmed',
      properties: [
        ...binding.properties,
        ...found.properties,
        ...(hardware === undefined ? [] : (['HARDWARE_ATTESTED'] as const)),
      ],
      found,
      quorum,
      hardware,
      notChecked: notChecked(binding.evidence, found.recomputed !== undefined, hardware !== undefined),
      refusals: [],
    });
    return {
      id: file.id,
      epoch: file.epoch,
      phases: ['attesting'],
      action: { kind: 'end', state: 'done' },
      code: 'confirmed',
      detail: 'The attestor confirmed the answer.',
      verdict: { signed: verdict, field: file.field },
    };
  }

  #refuted(
    file: CaseFile,
    ticket: Ticket,
    ticketSigned: SignedPayload,
    binding: BindingResult,
    refusals: readonly Refusal[],
    found: Findings,
  ): Ruling {
    const outputSha256 = binding.ok ? binding.evidence.subject[0].digest.sha256 : binding.outputSha256;
    const verdict = signVerdict(this.#parts.signingKey, file, ticket, ticketSigned, {
      evidence: binding.signed,
      outputSha256: outputSha256 ?? sha256Hex(''),
      decision: 'refuted',
      properties: [],
      found,
      notChecked: [],
      refusals: [...refusals],
    });
    return {
      id: file.id,
      epoch: file.epoch,
      phases: ['attesting'],
      action: { kind: 'close', why: 'refuted' },
      code: 'refuted',
      detail: refusals.join(' '),
      verdict: { signed: verdict, field: file.field },
    };
  }
}

/** Only the API can write tickets, and it signs what it has checked; `checkBinding` verifies that signature before anything is confirmed. */
function readTicket(file: CaseFile): { ticket: Ticket; ticketSigned: SignedPayload } {
  const ticketSigned = decodeStored(Buffer.from(file.ticket));
  if (ticketSigned === undefined) throw new Error(`The ticket of ${file.id} is not in its stored form.`);
  return { ticket: JSON.parse(ticketSigned.payload.toString('utf8')) as Ticket, ticketSigned };
}
