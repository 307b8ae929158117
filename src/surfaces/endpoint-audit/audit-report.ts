import { z } from 'zod';
import { Calibration } from '../../core/attestation/calibration.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { decodeUtf8, parseOrderedJson } from '../../ground/json/strict-json.ts';
import { publicKeyFromBase64, type SigningKey } from '../../ground/keys/signing-key.ts';
import { signPayload, verifyPayload } from '../../proof/receipts/dsse.ts';
import { FORMATS, FORMAT_RESULTS } from './format-checks.ts';
import { AUDIT_TASKS } from './questions.ts';
import { judgeAudit, type AuditVerdict } from './verdict.ts';

/** What is signed is no document of a job, and can never pass for one. */
const REPORT_TYPE = 'application/vnd.countersign.endpoint-audit+json';
const LIMITS = { maxDepth: 12 };
const MOST_BYTES = 64 * 1_048_576;

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Count = z.number().int().min(0);
const Sum = z.strictObject({ answers: Count, tokens: Count, sum: z.number().min(0), limit: z.number().min(0) });
const Formats = z.array(
  z.strictObject({ format: z.enum(FORMATS), result: z.enum(FORMAT_RESULTS), detail: z.string().max(200) }),
);

const Answer = z.strictObject({
  prompt: Sha256,
  temperature: z.number().min(0).max(1),
  seed: Count,
  output: Sha256,
  finishReason: z.string().max(20),
  /** As the endpoint counts them. */
  usage: z.strictObject({ inputTokens: Count, outputTokens: Count }),
  read: z.union([
    z.strictObject({ promptTokens: Count, tokens: Sha256, margins: z.array(z.number().min(0).max(100)).min(1) }),
    z.strictObject({ unread: z.string().max(40) }),
  ]),
});

/** What an audit of an endpoint found, and everything that its verdict follows from. */
export const AuditReport = z.strictObject({
  version: z.literal(1),
  auditor: z.strictObject({ key: z.string() }),
  endpoint: z.strictObject({ url: z.string(), model: z.string() }),
  reference: z.strictObject({ url: z.string(), model: z.string() }),
  task: z.enum(AUDIT_TASKS),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  noise: z.strictObject({
    /** Measured on the reference itself, on a second honest server, or before. */
    from: z.enum(['reference', 'honest', 'file']),
    greedy: Calibration.shape.greedy,
    sampled: Calibration.shape.sampled,
  }),
  answers: z.array(Answer).min(1),
  formats: z.strictObject({ endpoint: Formats, reference: Formats }).optional(),
  /** Of the file with the prompts, answers and tokens. */
  evidence: Sha256,
  verdict: z.strictObject({ isConsistent: z.boolean(), greedy: Sum, sampled: Sum, beyond: z.array(Count) }),
});
export type AuditReport = z.infer<typeof AuditReport>;

const Envelope = z.strictObject({
  payloadType: z.literal(REPORT_TYPE),
  payload: z.string(),
  signatures: z.tuple([z.strictObject({ keyid: Sha256, sig: z.string() })]),
});

/** The verdict that a report's own margins and noise lead to. */
export function verdictOf({ answers, noise }: Pick<AuditReport, 'answers' | 'noise'>): AuditVerdict {
  const judged = answers.flatMap(({ temperature, read }) => ('margins' in read ? [{ temperature, ...read }] : []));
  return judgeAudit(judged, noise);
}

/** The bytes of a signed report: a DSSE envelope. */
export function signReport(key: SigningKey, report: Omit<AuditReport, 'auditor'>): Buffer {
  // The schema puts the members in its order, so that each report has one text.
  const whole = AuditReport.parse({ ...report, auditor: { key: key.public.raw } });
  const { keyId, signature, payload } = signPayload(key, Buffer.from(JSON.stringify(whole)), REPORT_TYPE);
  const envelope: z.infer<typeof Envelope> = {
    payloadType: REPORT_TYPE,
    payload: payload.toString('base64'),
    signatures: [{ keyid: keyId, sig: signature.toString('base64') }],
  };
  return Buffer.from(`${JSON.stringify(envelope)}\n`);
}

/** What a report is compared with, where somebody has it. */
export interface HeldBeside {
  /** The public key of the auditor, as base64; without it anybody may have signed. */
  readonly signer?: string;
  /** The file of prompts, answers and tokens. */
  readonly evidence?: Uint8Array;
}

/**
 * The report in an envelope, after its signature, its form and its verdict were checked: the verdict is
 * computed anew from the margins. Throws CodedError `report_refused`.
 */
export function verifyReport(bytes: Uint8Array, { signer, evidence }: HeldBeside = {}): AuditReport {
  const [{ keyid, sig }, payload] = opened(bytes);
  const report = parsed('report', () =>
    parseOrderedJson(decodeUtf8(payload), (value) => AuditReport.parse(value), LIMITS),
  );
  const key = parsed('key', () => publicKeyFromBase64(report.auditor.key));
  if (signer !== undefined && signer !== key.raw)
    throw refused(`It is signed by the key ${key.raw}, and not by the one that was named`);
  const signature = Buffer.from(sig, 'base64');
  if (!verifyPayload(key, { keyId: keyid, signature, payload }, REPORT_TYPE))
    throw refused('The signature is not one of its auditor over these bytes');
  if (JSON.stringify(verdictOf(report)) !== JSON.stringify(report.verdict))
    throw refused('Its verdict does not follow from its margins');
  if (evidence !== undefined && sha256Hex(evidence) !== report.evidence)
    throw refused('The evidence is not the file that the report names');
  return report;
}

function opened(bytes: Uint8Array): [{ keyid: string; sig: string }, Buffer] {
  if (bytes.length > MOST_BYTES) throw refused('It is longer than a report can be');
  const text = parsed('file', () => decodeUtf8(bytes).trimEnd());
  const { signatures, payload } = parsed('file', () =>
    parseOrderedJson(text, (value) => Envelope.parse(value), LIMITS),
  );
  const read = Buffer.from(payload, 'base64');
  if (read.toString('base64') !== payload) throw refused('Its payload is not canonical base64');
  return [signatures[0], read];
}

function parsed<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw refused(`Its ${what} cannot be read: ${messageOf(cause).slice(0, 200)}`, cause);
  }
}

const refused = (why: string, cause?: unknown) =>
  new CodedError('report_refused', `${why}.`, { ...(cause === undefined ? {} : { cause }) });
