import type { Redis } from 'ioredis';
import { checkBinding, type BindingResult, type Refusal } from '../attestation/binding.ts';
import { checkRecompute, isDrawn } from '../attestation/recompute.ts';
import type { BlobStore } from '../blobs/blob-store.ts';
import { sha256Hex } from '../blobs/blob-store.ts';
import type { Engine } from '../engines/engine.ts';
import type { JobKeys } from '../jobs/job.keys.ts';
import { INLINE_BYTES, MAX_INPUT_BYTES, MAX_OUTPUT_BYTES } from '../jobs/task-input.ts';
import type { SigningKey } from '../keys/signing-key.ts';
import type { Catalog } from '../pools/catalog.ts';
import { decodeStored, signPayload, type SignedPayload } from '../receipts/dsse.ts';
import type { Keyring } from '../receipts/keyring.ts';
import { policyDigest } from '../receipts/receipt.ts';
import {
  STATEMENT_TYPE,
  VERDICT_TYPE,
  statementBytes,
  type Evidence,
  type Property,
  type Ticket,
  type Verdict,
} from '../receipts/statements.ts';
import type { CaseFile } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import type { Ruling } from './rulings.ts';

/** What the quick checks lead to: a ruling now, or a recomputation first. */
export type Judgement = { readonly kind: 'rule'; readonly ruling: Ruling } | { readonly kind: 'recompute' };

export interface JudgeParts {
  readonly redis: Redis;
  readonly keys: JobKeys;
  readonly blobs: BlobStore;
  readonly signingKey: SigningKey;
  readonly keyring: Keyring;
  readonly enrolled: EnrolledWorkers;
  readonly catalog: Catalog;
  /** Engines of the models that this attestor can compute again. */
  readonly engines: ReadonlyMap<string, Engine>;
}

const RECOMPUTE_MS = 300_000;

/** Checks committed evidence and writes the verdict. It holds no state of its own: any attestor may judge any case. */
export class Judge {
  readonly #parts: JudgeParts;
  readonly #drawSecret: Buffer;

  constructor(parts: JudgeParts) {
    this.#parts = parts;
    // From the private key, so that all attestors with one key draw alike and nobody else can.
    this.#drawSecret = parts.signingKey.derive('countersign/draw-secret/v1');
  }

  /** The methods that take moments. */
  async judgeQuickly(file: CaseFile): Promise<Judgement> {
    const { ticket, ticketSigned } = readTicket(file);
    const binding = await this.#bind(file, ticket, ticketSigned);
    if (!binding.ok)
      return { kind: 'rule', ruling: this.#refuted(file, ticket, ticketSigned, binding, binding.refusal) };
    if (this.#drawn(file, ticket)) return { kind: 'recompute' };
    return { kind: 'rule', ruling: this.#confirmed(file, ticket, ticketSigned, binding, { drawn: false }) };
  }

  /**
   * All methods, recomputation included; the quick ones are made again, since this can be much later. Throws where
   * this attestor cannot run the model, or its engine fails: the case is then somebody else's or for later.
   */
  async judgeFully(file: CaseFile): Promise<Ruling> {
    const { ticket, ticketSigned } = readTicket(file);
    const binding = await this.#bind(file, ticket, ticketSigned);
    if (!binding.ok) return this.#refuted(file, ticket, ticketSigned, binding, binding.refusal);
    const engine = this.#parts.engines.get(ticket.predicate.model.name);
    if (engine?.model.sha256 !== ticket.predicate.model.sha256)
      throw new Error(`This attestor cannot compute ${ticket.predicate.model.name} again.`);
    const input = await this.#input(file.id, ticket);
    const result = await checkRecompute(
      engine,
      ticket,
      binding.evidence,
      input,
      binding.output,
      AbortSignal.timeout(RECOMPUTE_MS),
    );
    const [refusal] = result.refusals;
    if (refusal !== undefined) return this.#refuted(file, ticket, ticketSigned, binding, ...result.refusals);
    return this.#confirmed(file, ticket, ticketSigned, binding, {
      drawn: true,
      properties: result.properties,
      maxAbsDiff: result.maxAbsDiff,
    });
  }

  #drawn(file: CaseFile, ticket: Ticket): boolean {
    return isDrawn(this.#drawSecret, ticket.predicate.policy.recompute, file.id, file.epoch);
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
      keyOf: (worker) => enrolled.keyOf(worker),
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
    recompute: { drawn: false } | { drawn: true; properties: Property[]; maxAbsDiff: number | undefined },
  ): Ruling {
    const properties = recompute.drawn ? [...binding.properties, ...recompute.properties] : binding.properties;
    const verdict = this.#verdict(file, ticket, ticketSigned, {
      evidence: binding.signed,
      outputSha256: binding.evidence.subject[0].digest.sha256,
      decision: 'confirmed',
      properties,
      drawn: recompute.drawn,
      maxAbsDiff: recompute.drawn ? recompute.maxAbsDiff : undefined,
      notChecked: notChecked(binding.evidence, recompute.drawn),
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
    ...refusals: Refusal[]
  ): Ruling {
    const outputSha256 = binding.ok ? binding.evidence.subject[0].digest.sha256 : binding.outputSha256;
    const verdict = this.#verdict(file, ticket, ticketSigned, {
      evidence: binding.signed,
      outputSha256: outputSha256 ?? sha256Hex(''),
      decision: 'refuted',
      properties: [],
      drawn: refusals.some((refusal) => refusal.startsWith('RECOMPUTED_')),
      maxAbsDiff: undefined,
      notChecked: [],
      refusals,
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

  #verdict(
    file: CaseFile,
    ticket: Ticket,
    ticketSigned: SignedPayload,
    found: {
      evidence: SignedPayload | undefined;
      outputSha256: string;
      decision: 'confirmed' | 'refuted';
      properties: Property[];
      drawn: boolean;
      maxAbsDiff: number | undefined;
      notChecked: Verdict['predicate']['notChecked'];
      refusals: Refusal[];
    },
  ): SignedPayload {
    const { signingKey } = this.#parts;
    const verdict: Verdict = {
      _type: STATEMENT_TYPE,
      subject: [
        { name: 'evidence', digest: { sha256: sha256Hex(found.evidence?.payload ?? '') } },
        { name: 'output', digest: { sha256: found.outputSha256 } },
      ],
      predicateType: VERDICT_TYPE,
      predicate: {
        verifier: {
          id: `urn:countersign:attestor:${signingKey.public.id.slice(0, 32)}`,
          policies: [{ uri: 'urn:countersign:policy:v1', digest: { sha256: policyDigest(ticket.predicate.policy) } }],
        },
        timeCreated: new Date().toISOString(),
        properties: found.properties,
        job: file.id,
        epoch: Math.max(1, file.epoch),
        ticket: { sha256: sha256Hex(ticketSigned.payload) },
        decision: found.decision,
        recompute: {
          promisedShare: ticket.predicate.policy.recompute,
          drawn: found.drawn,
          ...(found.maxAbsDiff === undefined || !Number.isFinite(found.maxAbsDiff)
            ? {}
            : { maxAbsDiff: found.maxAbsDiff }),
        },
        notChecked: found.notChecked,
        refusals: found.refusals,
      },
    };
    return signPayload(signingKey, statementBytes(verdict));
  }
}

function notChecked(evidence: Evidence, recomputed: boolean): Verdict['predicate']['notChecked'] {
  return [
    ...(recomputed ? [] : (['OUTPUT_NOT_RECOMPUTED'] as const)),
    ...(evidence.predicate.model.measured ? [] : (['WEIGHTS_DECLARED_NOT_MEASURED'] as const)),
    'HARDWARE_NOT_ATTESTED',
  ];
}

/** Only the API can write tickets, and it signs what it has checked; `checkBinding` verifies that signature before anything is confirmed. */
function readTicket(file: CaseFile): { ticket: Ticket; ticketSigned: SignedPayload } {
  const ticketSigned = decodeStored(Buffer.from(file.ticket));
  if (ticketSigned === undefined) throw new Error(`The ticket of ${file.id} is not in its stored form.`);
  return { ticket: JSON.parse(ticketSigned.payload.toString('utf8')) as Ticket, ticketSigned };
}
