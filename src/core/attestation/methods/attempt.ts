import { sha256Hex } from '../../../ground/blobs/sha256.ts';
import { JsonRefused, decodeUtf8, parseCanonicalJson } from '../../../ground/json/strict-json.ts';
import type { PublicKey } from '../../../ground/keys/signing-key.ts';
import { decodeStored, type SignedPayload } from '../../../proof/receipts/dsse.ts';
import { STATEMENTS, type Evidence, type Statements, type Ticket } from '../../../proof/receipts/statements.ts';
import type { Engine } from '../../engines/engine.ts';
import type { Bar } from '../refusal.ts';
import type { Equipment } from './equipment.ts';

const EVIDENCE_LIMITS = { maxDepth: 8 };

/** What a case consists of, and where the rest of it is read. */
export interface AttemptParts {
  readonly job: string;
  readonly epoch: number;
  readonly ticket: Ticket;
  readonly ticketSigned: SignedPayload;
  /** Who claimed the epoch. */
  readonly claimant: string;
  /** The stored evidence, or how it is unfit. */
  readonly statement: { readonly kind: 'stored'; readonly text: string } | { readonly kind: 'missing' | 'too_large' };
  /** From the begin of the engine to the commit, ms by Redis' clock. */
  readonly heldMs: number;
  /** Whether the operator's catalog says that this model's weights are measured by the worker. */
  readonly isMeasured: boolean;
  /** The key by which the ticket must be signed, if the keyring has it. */
  readonly apiKey: PublicKey | undefined;
  readonly equipment: Equipment;
  /** Its key if its word counts now, else why not. */
  keyOf(worker: string): PublicKey | Bar;
  /** Who runs a worker that is on the list. */
  operatorOf(worker: string): string | undefined;
  /** Whether the signed list lets a worker serve a pool. */
  mayServe(worker: string, pool: string): boolean;
  /** By the secret of the job's day: the same attempt is always drawn alike. */
  isDrawn(label: string, share: number): boolean;
  readInput(): Promise<string>;
  /** The output with this digest, whoever stored it, or undefined where there is none. */
  readOutput(digest: string): Promise<string | undefined>;
  /** The stored token ids with this digest, whoever stored them, or undefined where there are none. */
  readTokens(digest: string): Promise<Buffer | undefined>;
  /**
   * Earlier attempts of this job that were closed as votes. Their evidence was checked then, and never
   * changes.
   */
  readVotes(): Promise<{ readonly evidence: Evidence; readonly signed: SignedPayload }[]>;
}

/**
 * One attempt at a job, made once for each case. What is slow to read is read when a method first asks for
 * it.
 */
export class Attempt {
  readonly parts: AttemptParts;
  readonly ticket: Ticket;
  /** The attestor's own engine for just this model. */
  readonly engine: Engine | undefined;
  /** The evidence as it was signed; undefined where nothing of that form is stored. */
  readonly signed: SignedPayload | undefined;
  /** What the evidence claims; undefined where it is malformed. */
  readonly claim: Evidence | undefined;
  #input: Promise<unknown> | undefined;
  #output: Promise<string | undefined> | undefined;

  constructor(parts: AttemptParts, statements: Statements = STATEMENTS) {
    this.parts = parts;
    this.ticket = parts.ticket;
    this.engine = parts.equipment.engineOf(parts.ticket.predicate.model);
    this.signed = parts.statement.kind === 'stored' ? decodeStored(Buffer.from(parts.statement.text)) : undefined;
    this.claim = this.signed && parseEvidence(this.signed, statements);
  }

  /** The evidence. The method `binding` ignores what is none before another method looks. */
  get evidence(): Evidence {
    if (this.claim === undefined) throw new Error(`The evidence of ${this.parts.job} is malformed.`);
    return this.claim;
  }

  /**
   * How long the engine worked (ms), as its worker signed, and at most from its begin to the commit by Redis'
   * clock.
   */
  get ranMs(): number {
    const { startedAt, finishedAt } = this.evidence.predicate;
    return Math.min(Date.parse(finishedAt) - Date.parse(startedAt), this.parts.heldMs);
  }

  get worker(): string {
    return this.evidence.predicate.worker.id;
  }

  get outputSha256(): string {
    return this.evidence.subject[0].digest.sha256;
  }

  /** The input, parsed. Throws where it is not the one of the ticket. */
  input(): Promise<unknown> {
    this.#input ??= this.#readInput();
    return this.#input;
  }

  /** The output with the digest that the evidence names, or undefined where there is none. */
  storedOutput(): Promise<string | undefined> {
    this.#output ??= this.parts.readOutput(this.outputSha256);
    return this.#output;
  }

  /** The output. The method `binding` closes attempts without one. */
  async output(): Promise<string> {
    const output = await this.storedOutput();
    if (output === undefined) throw new Error(`The output of ${this.parts.job} is missing.`);
    return output;
  }

  /** The token ids that the evidence names, or undefined where there are none. */
  async tokens(): Promise<Buffer | undefined> {
    const { tokens } = this.evidence.predicate;
    return tokens && this.parts.readTokens(tokens.sha256);
  }

  async #readInput(): Promise<unknown> {
    const text = await this.parts.readInput();
    if (sha256Hex(text) !== this.ticket.subject[0].digest.sha256)
      throw new Error(`The input of ${this.parts.job} is not the one of its ticket.`);
    return JSON.parse(text);
  }
}

function parseEvidence(signed: SignedPayload, statements: Statements): Evidence | undefined {
  try {
    const parsed = statements.Evidence.safeParse(parseCanonicalJson(decodeUtf8(signed.payload), EVIDENCE_LIMITS));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (error instanceof JsonRefused) return undefined;
    throw error;
  }
}
