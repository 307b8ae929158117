import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { policyDigest } from '../../src/proof/receipts/receipt.ts';
import {
  Policy,
  statementBytes,
  type Evidence,
  type Ticket,
  type Verdict,
} from '../../src/proof/receipts/statements.ts';
import { signed, type Documents } from './sample-receipts.ts';

interface Change {
  ticket?: Partial<Ticket['predicate']>;
  evidence?: Partial<Evidence['predicate']>;
  verdict?: Partial<Verdict['predicate']>;
}

/** These documents with changes, bound to each other and signed anew by those who should. */
function changed(documents: Documents, change: Change): Buffer {
  const { ticket, evidence, verdict } = documents;
  const { startedAt, finishedAt, ...said } = { ...evidence.predicate, ...change.evidence };
  const { notChecked, refusals, ...found } = { ...verdict.predicate, ...change.verdict };
  return rebound({
    ticket: { ...ticket, predicate: { ...ticket.predicate, ...change.ticket } },
    evidence: { ...evidence, predicate: { ...said, startedAt, finishedAt } },
    verdict: { ...verdict, predicate: { ...found, notChecked, refusals } },
  });
}

/**
 * Documents whose digests name each other, signed by those who should. What each of them says beside is left
 * as it is, also where it is malformed.
 */
export function rebound({ ticket, evidence, verdict }: Documents): Buffer {
  const digest = { sha256: sha256Hex(statementBytes(ticket)) };
  const policy: unknown = isObject(ticket.predicate) ? ticket.predicate.policy : undefined;
  const policies = [{ uri: 'urn:countersign:policy:v1', digest: { sha256: digestOf(policy) } }];
  const answered = { ...evidence, predicate: into(evidence.predicate, { ticket: digest }) };
  const evidenceSha256 = sha256Hex(statementBytes(answered));
  const subject: unknown = verdict.subject;
  const judged = {
    ...verdict,
    predicate: into(verdict.predicate, { verifier: { id: 'urn:countersign:attestor:test', policies }, ticket: digest }),
    ...(Array.isArray(subject)
      ? { subject: subject.with(0, { name: 'evidence', digest: { sha256: evidenceSha256 } }) as Verdict['subject'] }
      : {}),
  };
  return signed({ ticket, evidence: answered, verdict: judged });
}

function digestOf(policy: unknown): string {
  const parsed = Policy.safeParse(policy);
  return parsed.success ? policyDigest(parsed.data) : 'a'.repeat(64);
}

/** A predicate with other members; one that is no object stays. */
function into<Predicate>(predicate: Predicate, members: object): Predicate {
  return isObject(predicate) ? { ...predicate, ...members } : predicate;
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);

type Word = Verdict['predicate']['properties'][number];
const SHA = { sha256: 'a'.repeat(64) };
const TOKENS = { promisedShare: 1, drawn: true, tokens: 1, margin: 0.5, limit: 1, calibration: SHA };

/** What an honest verdict can say beside that of `documents`; each is the base of contradictions. */
function bases({ verdict }: Documents) {
  const { properties, timeCreated } = verdict.predicate;
  const without = (...words: Word[]) => properties.filter((word) => !words.includes(word));
  const binding = without('USAGE_RECOUNTED', 'OUTPUT_RECOMPUTED_EXACT');
  const bound: Change = {
    ticket: { policy: { recompute: 0 } },
    verdict: {
      properties: binding,
      recompute: { promisedShare: 0, drawn: false },
      notChecked: ['OUTPUT_NOT_RECOMPUTED', 'HARDWARE_NOT_ATTESTED'],
    },
  };
  const tolerant: Change = {
    ticket: { task: 'embedding' },
    evidence: { finishReason: 'none', usage: { inputTokens: 2, outputTokens: 0 } },
    verdict: {
      properties: [...binding, 'USAGE_RECOUNTED', 'OUTPUT_RECOMPUTED_WITHIN_TOLERANCE'],
      recompute: { promisedShare: 1, drawn: true, maxAbsDiff: 1e-6 },
    },
  };
  const replayed: Change = {
    ticket: { policy: { recompute: 0, tokens: 1 } },
    evidence: { tokens: SHA },
    verdict: {
      ...bound.verdict,
      properties: [...binding, 'USAGE_RECOUNTED', 'TOKENS_REPLAYED'],
      tokens: TOKENS,
    },
  };
  const undrawn: Change = {
    ...replayed,
    ticket: { policy: { recompute: 0, tokens: 0.5 } },
    verdict: { ...replayed.verdict, properties: binding, tokens: { promisedShare: 0.5, drawn: false } },
  };
  const hardware: NonNullable<Verdict['predicate']['hardware']> = {
    evidence: SHA,
    policy: SHA,
    verifiedAt: timeCreated,
    properties: ['TEE_TDX_UP_TO_DATE'],
    warnings: ['MEMORY_BUS_NOT_TRUSTED'],
  };
  const attested: Change = {
    verdict: { properties: [...properties, 'HARDWARE_ATTESTED'], hardware, notChecked: [] },
  };
  const gpus = Array.from({ length: 8 }, () => 'GH100 A01 GSP BROM');
  const withGpus: Change = {
    verdict: {
      ...attested.verdict,
      hardware: { ...hardware, properties: ['TEE_TDX_UP_TO_DATE', 'GPU_SPDM_OK'], gpus },
    },
  };
  const timed: Change = { verdict: { ranMs: 0 } };
  return { bound, tolerant, replayed, undrawn, attested, withGpus, timed, hardware, properties, binding };
}

/** Receipts that hold, of each promise. */
export function* sound(documents: Documents): Generator<{ place: string; bytes: Buffer }> {
  const { bound, tolerant, replayed, undrawn, attested, withGpus, timed } = bases(documents);
  for (const [place, change] of Object.entries({ bound, tolerant, replayed, undrawn, attested, withGpus, timed }))
    yield { place, bytes: changed(documents, change) };
  yield { place: 'quorum', bytes: quorumOf(documents, {}) };
}

/** A quorum whose second vote is this answer. Its own digest is not known before the evidence is made. */
function quorumOf(
  documents: Documents,
  change: { of?: number; votes?: (votes: Votes) => Votes; properties?: Word[] },
): Buffer {
  const policy: Ticket['predicate']['policy'] = { recompute: 1, quorum: { of: 3, agree: 2 } };
  const epoch = 5;
  const { worker } = documents.evidence.predicate;
  const ticket = { ...documents.ticket.predicate, policy };
  const ticketSha = sha256Hex(statementBytes({ ...documents.ticket, predicate: ticket }));
  const evidence: Evidence = {
    ...documents.evidence,
    predicate: { ...documents.evidence.predicate, ticket: { sha256: ticketSha }, epoch },
  };
  const own = { epoch, worker: worker.id, operator: 'b', evidence: { sha256: sha256Hex(statementBytes(evidence)) } };
  const votes: Votes = [{ epoch: 1, worker: `w-${'0'.repeat(32)}`, operator: 'a', evidence: SHA }, own];
  const properties: Word[] = [...documents.verdict.predicate.properties, 'QUORUM_AGREED'];
  return changed(documents, {
    ticket,
    evidence: { epoch },
    verdict: {
      epoch,
      properties: change.properties ?? properties,
      quorum: { of: change.of ?? 3, agree: 2, votes: change.votes?.(votes) ?? votes },
    },
  });
}

type Votes = NonNullable<Verdict['predicate']['quorum']>['votes'];

/**
 * Receipts whose signed verdict cannot be true. The places of those that are malformed already (a word twice,
 * a list that is empty) begin with `twice` or `shape`.
 */
export function* contradictions(documents: Documents): Generator<{ place: string; bytes: Buffer }> {
  const { bound, tolerant, replayed, undrawn, attested, hardware, properties, binding } = bases(documents);
  const later = (ms: number) => new Date(Date.parse(documents.verdict.predicate.timeCreated) + ms).toISOString();
  const with_ = (base: Change, verdict: Change['verdict'], more: Change = {}): Change => ({
    ticket: { ...base.ticket, ...more.ticket },
    evidence: { ...base.evidence, ...more.evidence },
    verdict: { ...base.verdict, ...verdict },
  });
  const proven = (change: Partial<typeof hardware>) => with_(attested, { hardware: { ...hardware, ...change } });
  const drawn = (change: Partial<typeof TOKENS>) => with_(replayed, { tokens: { ...TOKENS, ...change } });
  const cases: Record<string, Change> = {
    'twice: a property': { verdict: { properties: [...properties, 'WORKER_ENROLLED'] } },
    'twice: a gap': { verdict: { notChecked: ['HARDWARE_NOT_ATTESTED', 'HARDWARE_NOT_ATTESTED'] } },
    'finished before it began': { evidence: { finishedAt: later(-1) } },
    'a text that ended as an embedding': { evidence: { finishReason: 'none' } },
    'an embedding that ended as a text': with_(tolerant, {}, { evidence: { finishReason: 'stop' } }),
    'a tolerance without a difference': with_(tolerant, { recompute: { promisedShare: 1, drawn: true } }),
    'a tolerance met with 5': with_(tolerant, { recompute: { promisedShare: 1, drawn: true, maxAbsDiff: 5 } }),
    'a tolerance just missed': with_(tolerant, { recompute: { promisedShare: 1, drawn: true, maxAbsDiff: 1.0001e-4 } }),
    'the same, and a difference': { verdict: { recompute: { promisedShare: 1, drawn: true, maxAbsDiff: 0 } } },
    'a difference without a draw': with_(bound, { recompute: { promisedShare: 0, drawn: false, maxAbsDiff: 0 } }),
    'the same and not the same': with_(tolerant, {
      properties: [...(tolerant.verdict?.properties ?? []), 'OUTPUT_RECOMPUTED_EXACT'],
    }),
    'counted again by nobody': with_(bound, { properties: [...binding, 'USAGE_RECOUNTED'] }),
    'computed again and not counted': {
      verdict: { properties: properties.filter((word) => word !== 'USAGE_RECOUNTED') },
    },
    'replayed and not counted': with_(replayed, { properties: [...binding, 'TOKENS_REPLAYED'] }),
    'a margin above its limit': drawn({ margin: 1.5 }),
    'no token judged': drawn({ tokens: 0 }),
    'more tokens judged than there are': drawn({ tokens: 9 }),
    'no token ids': { ...replayed, evidence: {} },
    'a replay promised and not named': with_(replayed, { tokens: { promisedShare: 1, drawn: true } }),
    'tokens counted without a draw': with_(undrawn, { tokens: { promisedShare: 0.5, drawn: false, tokens: 1 } }),
    'a margin without a draw': with_(undrawn, { tokens: { promisedShare: 0.5, drawn: false, margin: 0 } }),
    'a limit without a draw': with_(undrawn, { tokens: { promisedShare: 0.5, drawn: false, limit: 1 } }),
    'a calibration without a draw': with_(undrawn, { tokens: { promisedShare: 0.5, drawn: false, calibration: SHA } }),
    'another share of tokens': with_(undrawn, { tokens: { promisedShare: 0.4, drawn: false } }),
    'hardware verified in 2099': proven({ verifiedAt: '2099-01-01T00:00:00.000Z' }),
    'hardware verified after the verdict': proven({ verifiedAt: later(60_001) }),
    'hardware verified too long ago': proven({ verifiedAt: later(-3_660_001) }),
    'hardware: a finding twice': proven({ properties: ['TEE_TDX_UP_TO_DATE', 'TEE_TDX_UP_TO_DATE'] }),
    'hardware: a warning twice': proven({ warnings: ['MEMORY_BUS_NOT_TRUSTED', 'MEMORY_BUS_NOT_TRUSTED'] }),
    'hardware: up to date and not': proven({ properties: ['TEE_TDX_UP_TO_DATE', 'TEE_TDX_ADVISORIES_ACCEPTED'] }),
    'hardware: two platforms': proven({ properties: ['TEE_TDX_UP_TO_DATE', 'TEE_SEV_SNP_OK'] }),
    'hardware: no platform': proven({ properties: ['GPU_SPDM_OK'] }),
    'hardware: two judgements of the GPUs': proven({
      properties: ['TEE_TDX_UP_TO_DATE', 'GPU_SPDM_OK', 'GPU_NRAS_OK'],
      gpus: ['GH100 A01'],
    }),
    'hardware: evidence of GPUs without the GPUs': proven({ properties: ['TEE_TDX_UP_TO_DATE', 'GPU_SPDM_OK'] }),
    'hardware: GPUs without evidence of them': proven({ gpus: ['GH100 A01'] }),
    'shape: no GPU among the GPUs': proven({ properties: ['TEE_TDX_UP_TO_DATE', 'GPU_SPDM_OK'], gpus: [] }),
    'shape: a name that no maker gives': proven({
      properties: ['TEE_TDX_UP_TO_DATE', 'GPU_SPDM_OK'],
      gpus: ['GH100\n'],
    }),
    'hardware: a warning of another maker': proven({ warnings: ['SNP_MILAN_KEYS_EXTRACTABLE'] }),
    'hardware: a warning that Nitro has not': proven({ properties: ['TEE_NITRO_OK'] }),
  };
  for (const [place, change] of Object.entries(cases)) yield { place, bytes: changed(documents, change) };

  const second = (change: (vote: Votes[number]) => Partial<Votes[number]>) => (votes: Votes) =>
    votes.map((vote, at) => (at === 0 ? { ...vote, ...change(vote) } : vote));
  const quorums: Record<string, Parameters<typeof quorumOf>[1]> = {
    'a quorum of one': { votes: (votes) => votes.slice(1) },
    'a quorum without its own vote': { votes: (votes) => votes.slice(0, 1) },
    'a quorum of another number': { of: 5 },
    'votes of one operator': { votes: second(() => ({ operator: 'b' })) },
    'votes of one worker': { votes: second(() => ({ worker: documents.evidence.predicate.worker.id })) },
    'votes of one attempt': { votes: second(() => ({ epoch: 5 })) },
    'a vote after the last': { votes: second(() => ({ epoch: 6 })) },
    'more votes than workers asked': {
      votes: (votes) => [
        ...votes.slice(0, 1),
        ...[2, 3, 4].map((epoch) => ({
          epoch,
          worker: `w-${String(epoch).repeat(32)}`,
          operator: `operator-${epoch}`,
          evidence: { sha256: String(epoch).repeat(64) },
        })),
        ...votes.slice(1),
      ],
    },
    'agreed upon, unsaid': { properties: [...properties] },
  };
  for (const [place, change] of Object.entries(quorums)) yield { place, bytes: quorumOf(documents, change) };
}
