import { createHash } from 'node:crypto';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import {
  generateSigningKeyPem,
  signingKeyFromPem,
  workerIdOf,
  type SigningKey,
} from '../../src/ground/keys/signing-key.ts';
import { formatCheckpoint } from '../../src/proof/tlog/checkpoint.ts';
import { logEntry } from '../../src/proof/tlog/log-entry.ts';
import { leafHash, nodeHash } from '../../src/proof/tlog/merkle.ts';
import { formatNote, formatVkey, noteKey, signNote } from '../../src/proof/tlog/signed-note.ts';
import { formatProof } from '../../src/proof/tlog/tlog-proof.ts';
import { signPayload, type SignedPayload } from '../../src/proof/receipts/dsse.ts';
import { Keyring, KeyringFile, keyringEntry } from '../../src/proof/receipts/keyring.ts';
import {
  ReceiptRefused,
  policyDigest,
  receiptFile,
  verifyReceipt,
  type LogPart,
} from '../../src/proof/receipts/receipt.ts';
import {
  EVIDENCE_TYPE,
  STATEMENT_TYPE,
  TICKET_TYPE,
  VERDICT_TYPE,
  statementBytes,
  type Evidence,
  type Ticket,
  type Verdict,
} from '../../src/proof/receipts/statements.ts';

export const newKey = () => signingKeyFromPem(generateSigningKeyPem());
export const api = newKey();
export const attestor = newKey();
const worker = newKey();
const logKey = newKey();
const ORIGIN = 'countersign.test/log';
const PAST = '2026-01-01T00:00:00.000Z';
const logLine = `log ${formatVkey(noteKey(ORIGIN, 'ed25519', logKey.public))}\n`;
/** A keyring for these receipts; `policy` are further lines of the log policy. */
export const keyringFile = (policy = 'quorum none\n'): KeyringFile => ({
  version: 1,
  keys: [keyringEntry('api', api.public, PAST), keyringEntry('attestor', attestor.public, PAST)],
  logPolicy: `${logLine}${policy}`,
});
export const keyring = new Keyring(keyringFile());

export interface Documents {
  ticket: Ticket;
  evidence: Evidence;
  verdict: Verdict;
}

/** Three documents that fit together; `number` makes each set another. */
export function documents(number: number): Documents {
  const job = newJobId('default', 1_790_000_000_000 + number);
  const at = new Date(1_790_000_000_000 + number).toISOString();
  const output = sha256Hex(`output ${number}`);
  const ticket: Ticket = {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'input', digest: { sha256: sha256Hex(`input ${number}`) } }],
    predicateType: TICKET_TYPE,
    predicate: {
      job,
      tenant: `tenant-${number % 7}`,
      pool: 'default',
      model: { name: 'kjv-1m', sha256: sha256Hex('weights') },
      task: 'completion',
      params: {
        max_tokens: 1 + (number % 50),
        temperature: (number % 10) / 10,
        top_p: 1,
        seed: number,
        stop: number % 2 === 0 ? [] : ['\n'],
      },
      inputBytes: 7,
      policy: { recompute: 1 },
      attempts: 3,
      createdAt: at,
      deadline: at,
      nonce: Buffer.alloc(32, number).toString('base64url'),
    },
  };
  const ticketDigest = sha256Hex(statementBytes(ticket));
  const evidence: Evidence = {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'output', digest: { sha256: output } }],
    predicateType: EVIDENCE_TYPE,
    predicate: {
      job,
      ticket: { sha256: ticketDigest },
      epoch: 1 + (number % 3),
      worker: { id: workerIdOf(worker.public), publicKey: worker.public.raw },
      model: { name: 'kjv-1m', sha256: sha256Hex('weights'), measured: true },
      engine: { name: 'llama', version: '3.22.1', sha256: sha256Hex('engine') },
      outputBytes: 9,
      usage: { inputTokens: 2, outputTokens: 1 },
      finishReason: 'stop',
      startedAt: at,
      finishedAt: at,
    },
  };
  const verdict: Verdict = {
    _type: STATEMENT_TYPE,
    subject: [
      { name: 'evidence', digest: { sha256: sha256Hex(statementBytes(evidence)) } },
      { name: 'output', digest: { sha256: output } },
    ],
    predicateType: VERDICT_TYPE,
    predicate: {
      verifier: {
        id: 'urn:countersign:attestor:test',
        policies: [{ uri: 'urn:countersign:policy:v1', digest: { sha256: policyDigest(ticket.predicate.policy) } }],
      },
      timeCreated: at,
      properties: [
        'TICKET_SIGNATURE',
        'WORKER_ENROLLED',
        'WORKER_SIGNATURE',
        'TICKET_MATCHED',
        'EPOCH_CURRENT',
        'MODEL_DIGEST_MATCHED',
        'OUTPUT_DIGEST_MATCHED',
        'USAGE_WITHIN_BOUNDS',
        'USAGE_RECOUNTED',
        'OUTPUT_RECOMPUTED_EXACT',
      ],
      job,
      epoch: 1 + (number % 3),
      ticket: { sha256: ticketDigest },
      decision: 'confirmed',
      recompute: { promisedShare: 1, drawn: true },
      notChecked: ['HARDWARE_NOT_ATTESTED'],
      refusals: [],
    },
  };
  return { ticket, evidence, verdict };
}

/** A checkpoint of the log of these receipts. */
export function checkpointOf(size: number, root: Buffer, key: SigningKey = logKey): string {
  const text = formatCheckpoint({ origin: ORIGIN, size, root });
  return formatNote({ text, signatures: [signNote(text, ORIGIN, key)] });
}

/** The log part of a receipt whose verdict is the second of two entries of a log. */
export function loggedAs(verdict: SignedPayload, key: SigningKey = logKey): LogPart {
  const salt = createHash('sha256').update(verdict.signature).digest();
  const [other, entry] = [Buffer.from('{}'), logEntry('verdict', verdict.keyId, verdict.payload, salt)].map(leafHash);
  if (other === undefined || entry === undefined) throw new Error('unreachable');
  const checkpoint = checkpointOf(2, nodeHash(other, entry), key);
  return { salt: salt.toString('base64'), proof: formatProof({ index: 1, hashes: [other], checkpoint }) };
}

export function signed(
  { ticket, evidence, verdict }: Documents,
  keys: { api?: SigningKey; worker?: SigningKey; attestor?: SigningKey; log?: SigningKey } = {},
): Buffer {
  const verdictSigned = signPayload(keys.attestor ?? attestor, statementBytes(verdict));
  return Buffer.from(
    receiptFile(
      signPayload(keys.api ?? api, statementBytes(ticket)),
      signPayload(keys.worker ?? worker, statementBytes(evidence)),
      verdictSigned,
      loggedAs(verdictSigned, keys.log),
    ),
  );
}

/** Why it is refused; "verified" where it is not. */
export function refusal(bytes: Uint8Array, by = keyring): string {
  try {
    verifyReceipt(bytes, by);
    return 'verified';
  } catch (error) {
    if (error instanceof ReceiptRefused && error.message.length > 10) return error.reason;
    throw error;
  }
}

/** The document with one leaf replaced by another value of its type, for each leaf. */
export function* mutations(value: unknown, path = ''): Generator<{ path: string; value: unknown }> {
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries())
      for (const mutated of mutations(item, `${path}[${index}]`))
        yield { path: mutated.path, value: value.with(index, mutated.value) };
    yield { path: `${path}[+]`, value: [...(value as unknown[]), 'OUTPUT_RECOMPUTED_EXACT'] };
  } else if (typeof value === 'object' && value !== null) {
    const members = value as Record<string, unknown>;
    for (const [name, item] of Object.entries(members)) {
      for (const mutated of mutations(item, `${path}.${name}`))
        yield { path: mutated.path, value: { ...members, [name]: mutated.value } };
      yield {
        path: `${path}.-${name}`,
        value: Object.fromEntries(Object.entries(members).filter(([other]) => other !== name)),
      };
    }
    yield { path: `${path}.+`, value: { ...members, extra: 1 } };
  } else if (typeof value === 'string') {
    yield { path, value: value.endsWith('0') ? `${value.slice(0, -1)}1` : `${value.slice(0, -1)}0` };
  } else if (typeof value === 'number') {
    yield { path, value: value + 1 };
  } else if (typeof value === 'boolean') {
    yield { path, value: !value };
  }
}

/**
 * Every change of one leaf of one document of `original`: signed by a forger's key, and under the kept
 * signature.
 */
export function* changedFields(original: Documents, forger: SigningKey): Generator<{ place: string; bytes: Buffer }> {
  const kept = signed(original).toString();
  for (const [name, role] of [
    ['ticket', 'api'],
    ['evidence', 'worker'],
    ['verdict', 'attestor'],
  ] as const) {
    for (const { path, value } of mutations(original[name])) {
      const place = `${name}${path}`;
      yield { place, bytes: signed({ ...original, [name]: value }, { [role]: forger }) };
      const file = JSON.parse(kept) as Record<string, { payload: string }>;
      const envelope = file[name];
      if (envelope) envelope.payload = Buffer.from(JSON.stringify(value)).toString('base64');
      yield { place: `${place}, kept signature`, bytes: Buffer.from(`${JSON.stringify(file)}\n`) };
    }
  }
}
