import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { JsonRefused, decodeUtf8, parseCanonicalJson, parseOrderedJson } from '../../ground/json/strict-json.ts';
import { publicKeyFromBase64, workerIdOf, type PublicKey } from '../../ground/keys/signing-key.ts';
import { SALT_BYTES, logEntry } from '../tlog/log-entry.ts';
import { LogRefused, strictBase64 } from '../tlog/signed-note.ts';
import { MAX_PROOF_BYTES } from '../tlog/tlog-proof.ts';
import { plainProof, verifyLogged, type TlogPolicy, type VerifiedInclusion } from '../tlog/tlog-policy.ts';
import { chargeOf } from './charge.ts';
import { Envelope, fromEnvelope, toEnvelope, verifyPayload, type SignedPayload } from './dsse.ts';
import type { Keyring } from './keyring.ts';
import type { VerificationStep } from './verification-steps.ts';
import {
  STATEMENTS,
  type Evidence,
  type Policy,
  type ShownMemory,
  type Statements,
  type Ticket,
  type Verdict,
} from './statements.ts';

/**
 * The file that an auditor holds: compact JSON in this order and one line feed. `log` shows that the verdict
 * stands in the transparency log: the salt of its entry, and a tlog-proof.
 */
export const ReceiptFile = z.strictObject({
  receipt: z.literal('countersign/v1'),
  ticket: Envelope,
  evidence: Envelope,
  verdict: Envelope,
  log: z.strictObject({ salt: z.string().max(64), proof: z.string().max(MAX_PROOF_BYTES) }),
});

/** No honest receipt comes near; a longer file is refused before it is parsed. */
export const MAX_RECEIPT_BYTES = 262_144;
const LIMITS = { maxDepth: 12 };

/** Why a receipt was refused: a stable word and a sentence. */
export class ReceiptRefused extends Error {
  override readonly name = 'ReceiptRefused';
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

export type RefusalReason =
  | 'worker_revoked'
  | 'too_large'
  | 'malformed'
  | 'untrusted_key'
  | 'bad_signature'
  | 'wrong_worker'
  | 'mismatch'
  | 'not_confirmed'
  | 'promise_not_kept'
  | 'not_logged'
  | 'wrong_output'
  | 'wrong_input';

export interface VerifiedReceipt {
  readonly ticket: Ticket['predicate'];
  readonly evidence: Evidence['predicate'];
  readonly verdict: Verdict['predicate'];
  readonly inputSha256: string;
  readonly outputSha256: string;
  /** Where the verdict stands in the log. */
  readonly logged: VerifiedInclusion;
  /**
   * What the job costs by its documents, in millionths of the ticket's currency; undefined where it has no
   * price.
   */
  readonly charge: number | undefined;
  /** What was found true, one sentence each, for people. */
  readonly checks: string[];
}

export interface LogPart {
  /** 32 bytes as base64. */
  readonly salt: string;
  /** A tlog-proof (C2SP). */
  readonly proof: string;
}

export function receiptFile(
  ticket: SignedPayload,
  evidence: SignedPayload,
  verdict: SignedPayload,
  log: LogPart,
): string {
  const file = {
    receipt: 'countersign/v1',
    ticket: toEnvelope(ticket),
    evidence: toEnvelope(evidence),
    verdict: toEnvelope(verdict),
    log: { salt: log.salt, proof: log.proof },
  };
  return `${JSON.stringify(file)}\n`;
}

/** The SHA-256 of a policy: over its compact JSON. The verdict names it. */
export function policyDigest(policy: Policy): string {
  return sha256Hex(JSON.stringify(policy));
}

/**
 * Verifies a receipt from its bytes and a keyring alone: no clock, no network, no service of ours. Give the
 * output or input bytes where you have them, and they are compared too; `passed` is told each step that
 * holds. `statements` are other documents than those of this version, where a ticket could promise more.
 * Throws ReceiptRefused with the first reason found.
 */
export function verifyReceipt(
  bytes: Uint8Array,
  keyring: Keyring,
  documents: { output?: Uint8Array; input?: Uint8Array; passed?: (step: VerificationStep) => void } = {},
  statements: Statements = STATEMENTS,
): VerifiedReceipt {
  if (bytes.length > MAX_RECEIPT_BYTES)
    throw new ReceiptRefused('too_large', `A receipt has at most ${MAX_RECEIPT_BYTES} bytes.`);
  const file = parseFile(bytes);
  const passed = documents.passed ?? (() => undefined);
  passed('file');

  const verdictSigned = open('verdict', file.verdict);
  const verdict = parseStatement('verdict', statements.Verdict, verdictSigned);
  const decidedMs = Date.parse(verdict.predicate.timeCreated);
  requireSignature('verdict', trusted(keyring, 'attestor', verdictSigned, decidedMs), verdictSigned);

  const ticketSigned = open('ticket', file.ticket);
  const ticket = parseStatement('ticket', statements.Ticket, ticketSigned);
  const createdMs = Date.parse(ticket.predicate.createdAt);
  requireSignature('ticket', trusted(keyring, 'api', ticketSigned, createdMs), ticketSigned);
  passed('signatures');

  const evidenceSigned = open('evidence', file.evidence);
  const evidence = parseStatement('evidence', statements.Evidence, evidenceSigned);
  requireSignature('evidence', workerKey(evidence, evidenceSigned), evidenceSigned);
  passed('evidence');

  requireBinding(ticket, ticketSigned, evidence, evidenceSigned, verdict);
  requireTime(evidence, verdict);
  passed('binding');
  requireConfirmation(verdict);
  passed('decision');
  requirePromises(statements, ticket, evidence, verdict);
  passed('promises');
  const logged = requireLogged(keyring.logPolicy, file.log, ticket, verdictSigned, verdict);
  passed('log');

  const inputSha256 = ticket.subject[0].digest.sha256;
  const outputSha256 = evidence.subject[0].digest.sha256;
  if (documents.input !== undefined && sha256Hex(documents.input) !== inputSha256)
    throw new ReceiptRefused('wrong_input', 'The input given is not the one of the ticket.');
  if (documents.output !== undefined && sha256Hex(documents.output) !== outputSha256)
    throw new ReceiptRefused('wrong_output', 'The output given is not the one that was confirmed.');

  return {
    ticket: ticket.predicate,
    evidence: evidence.predicate,
    verdict: verdict.predicate,
    inputSha256,
    outputSha256,
    logged,
    charge: ticket.predicate.price && chargeOf(ticket.predicate, evidence.predicate, verdict.predicate),
    checks: describe(ticket, verdict, logged, documents),
  };
}

function parseFile(bytes: Uint8Array): z.infer<typeof ReceiptFile> {
  try {
    const text = decodeUtf8(bytes);
    if (!text.endsWith('\n')) throw new JsonRefused('The last line does not end.');
    return parseOrderedJson(text.slice(0, -1), (value) => ReceiptFile.parse(value), LIMITS);
  } catch (error) {
    if (isReformatted(bytes))
      throw new ReceiptRefused(
        'malformed',
        'This reads like a receipt, and it was reformatted: an editor or another program has written it anew, and only the bytes that were issued verify. Take the original bytes, as `countersign get ID --receipt FILE` saves them.',
      );
    throw new ReceiptRefused(
      'malformed',
      `The file is not a receipt: ${isOtherJson(bytes) ? 'it is JSON of another kind.' : sentence(error)}`,
    );
  }
}

/** Whether a text is JSON that has nothing of a receipt, such as a keyring or an answer. */
function isOtherJson(bytes: Uint8Array): boolean {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value !== 'object' || value === null || !Object.keys(ReceiptFile.shape).some((name) => name in value);
  } catch {
    return false;
  }
}

/** Whether the members of a receipt are there, in bytes that are not those of one. */
function isReformatted(bytes: Uint8Array): boolean {
  // Some shells write what is sent into a file as UTF-16.
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : 'utf-8';
  try {
    return ReceiptFile.safeParse(JSON.parse(new TextDecoder(encoding).decode(bytes))).success;
  } catch {
    return false;
  }
}

function open(name: string, envelope: Envelope): SignedPayload {
  const signed = fromEnvelope(envelope);
  if ('refused' in signed) throw new ReceiptRefused('malformed', `In the ${name}, ${signed.refused}.`);
  return signed;
}

function parseStatement<Schema extends z.ZodType>(
  name: string,
  schema: Schema,
  signed: SignedPayload,
): z.infer<Schema> {
  try {
    return schema.parse(parseCanonicalJson(decodeUtf8(signed.payload), LIMITS));
  } catch (error) {
    throw new ReceiptRefused('malformed', `The ${name} is not a statement of its type: ${sentence(error)}`);
  }
}

function trusted(keyring: Keyring, role: 'api' | 'attestor', signed: SignedPayload, atMs: number): PublicKey {
  const key = keyring.find(role, signed.keyId, atMs);
  if ('refused' in key)
    throw new ReceiptRefused('untrusted_key', `For the ${role === 'api' ? 'ticket' : 'verdict'}, ${key.refused}.`);
  return key;
}

/**
 * The worker's key stands in its evidence; that it was enrolled is a property that the attestor vouches for.
 */
function workerKey(evidence: Evidence, signed: SignedPayload): PublicKey {
  const { id, publicKey } = evidence.predicate.worker;
  let key: PublicKey;
  try {
    key = publicKeyFromBase64(publicKey);
  } catch (error) {
    throw new ReceiptRefused('wrong_worker', `The worker's key is refused: ${sentence(error)}`);
  }
  if (workerIdOf(key) !== id || key.id !== signed.keyId)
    throw new ReceiptRefused('wrong_worker', 'The evidence is not signed by the worker that it names.');
  return key;
}

function requireSignature(name: string, key: PublicKey, signed: SignedPayload): void {
  if (!verifyPayload(key, signed))
    throw new ReceiptRefused('bad_signature', `The signature of the ${name} does not verify.`);
}

function requireBinding(
  ticket: Ticket,
  ticketSigned: SignedPayload,
  evidence: Evidence,
  evidenceSigned: SignedPayload,
  verdict: Verdict,
): void {
  const ticketDigest = sha256Hex(ticketSigned.payload);
  const must = (holds: boolean, sentenceText: string) => {
    if (!holds) throw new ReceiptRefused('mismatch', sentenceText);
  };
  must(evidence.predicate.ticket.sha256 === ticketDigest, 'The evidence answers another ticket.');
  must(verdict.predicate.ticket.sha256 === ticketDigest, 'The verdict is about another ticket.');
  must(verdict.subject[0].digest.sha256 === sha256Hex(evidenceSigned.payload), 'The verdict is about other evidence.');
  must(verdict.subject[1].digest.sha256 === evidence.subject[0].digest.sha256, 'The verdict is about another output.');
  must(
    evidence.predicate.job === ticket.predicate.job && verdict.predicate.job === ticket.predicate.job,
    'The documents belong to different jobs.',
  );
  must(verdict.predicate.epoch === evidence.predicate.epoch, 'The verdict is about another attempt.');
  must(
    evidence.predicate.model.name === ticket.predicate.model.name &&
      evidence.predicate.model.sha256 === ticket.predicate.model.sha256,
    'The worker ran another model than the ticket names.',
  );
  must(
    verdict.predicate.verifier.policies[0].digest.sha256 === policyDigest(ticket.predicate.policy),
    'The verdict applied another policy than the ticket promised.',
  );
}

/** What the verdict charges by time is at most what the evidence names. */
function requireTime({ predicate: { startedAt, finishedAt } }: Evidence, { predicate: { ranMs } }: Verdict): void {
  if (ranMs !== undefined && ranMs > Date.parse(finishedAt) - Date.parse(startedAt))
    throw new ReceiptRefused('mismatch', 'The verdict charges for a longer time than the evidence names.');
}

function requireConfirmation({ predicate: { decision, refusals } }: Verdict): void {
  if (decision !== 'confirmed' || refusals.length > 0)
    throw new ReceiptRefused('not_confirmed', 'The attestor did not confirm this job.');
}

/** The level that was promised must be the level that was applied (invariant 6 of the design). */
function requirePromises({ promises }: Statements, ticket: Ticket, evidence: Evidence, verdict: Verdict): void {
  const { properties, notChecked } = verdict.predicate;
  for (const words of [properties, notChecked])
    if (new Set(words).size !== words.length)
      throw new ReceiptRefused('malformed', 'The verdict names one thing twice.');
  const broken = promises.broken({
    task: ticket.predicate.task,
    policy: ticket.predicate.policy,
    evidence: evidence.predicate,
    evidenceSha256: verdict.subject[0].digest.sha256,
    verdict: verdict.predicate,
    properties: new Set(properties),
    notChecked: new Set(notChecked),
  });
  if (broken !== undefined) throw new ReceiptRefused('promise_not_kept', broken);
}

/** Witnesses' clocks and ours may differ by this much. */
const CLOCK_GRACE_MS = 60_000;

function requireLogged(
  policy: TlogPolicy,
  log: LogPart,
  ticket: Ticket,
  signed: SignedPayload,
  verdict: Verdict,
): VerifiedInclusion {
  const salt = strictBase64(log.salt);
  if (salt?.length !== SALT_BYTES) throw new ReceiptRefused('malformed', 'The salt of the log entry is malformed.');
  let logged: VerifiedInclusion;
  try {
    logged = verifyLogged(policy, log.proof, logEntry('verdict', signed.keyId, signed.payload, salt));
  } catch (error) {
    if (error instanceof LogRefused) throw new ReceiptRefused('not_logged', `The log: ${error.message}`);
    throw error;
  }
  if (plainProof(policy, log.proof) !== log.proof)
    throw new ReceiptRefused(
      'not_logged',
      'The log: the proof holds lines that no receipt has: extra data, or signatures that are by no key of the policy, are there twice, or are out of order.',
    );
  const decidedMs = Date.parse(verdict.predicate.timeCreated);
  if (decidedMs < Date.parse(ticket.predicate.createdAt) - CLOCK_GRACE_MS)
    throw new ReceiptRefused('mismatch', 'The verdict is dated before its ticket.');
  if (logged.seenAtSeconds !== undefined && decidedMs > logged.seenAtSeconds * 1_000 + CLOCK_GRACE_MS)
    throw new ReceiptRefused('mismatch', 'The verdict is dated after witnesses saw it in the log.');
  return logged;
}

function describe(
  { predicate: { memories } }: Ticket,
  verdict: Verdict,
  logged: VerifiedInclusion,
  documents: { output?: Uint8Array; input?: Uint8Array },
): string[] {
  return [
    'ticket signed by the API',
    'evidence signed by the worker it names',
    'verdict signed by the attestor',
    'ticket, evidence and verdict are about the same job, attempt, model and output',
    `the verdict is entry ${logged.index} of the log ${logged.origin}${logged.witnesses.length === 0 ? '' : `, seen by ${logged.witnesses.join(', ')}`}`,
    ...(memories === undefined ? [] : [memoriesLine(memories)]),
    ...verdict.predicate.properties.map((property) => `the attestor vouches: ${property}`),
    ...(documents.input === undefined ? [] : ['the input given is the one that was asked']),
    ...(documents.output === undefined ? [] : ['the output given is the one that was confirmed']),
  ];
}

function memoriesLine(memories: readonly ShownMemory[]): string {
  if (memories.length === 0) return 'the question was asked with memory, and none was found';
  const named = memories.map(({ id, sha256 }) => `${id} (sha256 ${sha256})`);
  return `before the question stood, as the ticket says, ${named.length} ${named.length === 1 ? 'memory' : 'memories'}: ${named.join(', ')}`;
}

function sentence(error: unknown): string {
  if (error instanceof z.ZodError) {
    const [issue] = error.issues;
    return issue === undefined ? 'it has another shape.' : `${issue.path.join('.') || 'file'}: ${issue.message}.`;
  }
  return error instanceof Error ? error.message : String(error);
}
