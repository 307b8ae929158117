// A ledger whose receipts only the archive has, as years leave it: the entries in the export of a closed
// month, the records in the files of the archive, each with a ticket, evidence and a verdict that a key has
// signed.
import { join } from 'node:path';
import { dist, keys } from './arena.mjs';

const { ensureSigningKey } = await dist('ground/keys/key-file.js');
const { BlobFolders } = await dist('ground/blobs/blob-folders.js');
const { sha256Hex } = await dist('ground/blobs/sha256.js');
const { FolderTree } = await dist('ground/blobs/file-tree.js');
const { JobArchive } = await dist('core/jobs/job-archive.js');
const { newJobId } = await dist('core/jobs/job-id.js');
const { recordBody, recordBytes } = await dist('core/jobs/job-record.js');
const { CLOSED_PERIOD_TYPE } = await dist('proof/contract/closed-period.js');
const { chargeOf } = await dist('proof/receipts/charge.js');
const { signPayload } = await dist('proof/receipts/dsse.js');
const { STATEMENTS } = await dist('proof/receipts/statements.js');
const { ClosedPeriods } = await dist('surfaces/ledger/closed-periods.store.js');
const { ledgerEntry } = await dist('surfaces/ledger/ledger-entry.js');

/** Entries of one checkpoint: forty tiles. */
const WRITTEN_AT_ONCE = 10_240;
const MONTH = '2026-02';
const BEGAN_MS = Date.UTC(2026, 1, 1);
const PRICE = {
  table: { id: 'v1', sha256: sha256Hex('prices') },
  currency: 'EUR',
  input: 0,
  output: 1_000_000,
  second: 0,
  attestation: 0,
  hold: 1_000,
};
const type = (name) => ({ _type: 'https://in-toto.io/Statement/v1', predicateType: name });
const { Ticket, Evidence, Verdict } = STATEMENTS;
const [TICKET, EVIDENCE, VERDICT] = [Ticket, Evidence, Verdict].map((one) => one.shape.predicateType.value);

/** The three documents of a job that wrote so many tokens. */
function documents(id, tokens) {
  const at = new Date(BEGAN_MS).toISOString();
  const subject = (name) => ({ name, digest: { sha256: sha256Hex(`${name} ${id}`) } });
  const ticket = {
    ...type(TICKET),
    subject: [subject('input')],
    predicate: {
      job: id,
      tenant: 'archived',
      pool: 'default',
      model: { name: 'noop', sha256: sha256Hex('') },
      task: 'completion',
      params: { max_tokens: 50, temperature: 0, top_p: 1, seed: 1, stop: [] },
      inputBytes: 7,
      policy: { recompute: 0 },
      attempts: 3,
      price: PRICE,
      createdAt: at,
      deadline: at,
      nonce: Buffer.alloc(32, id).toString('base64url'),
    },
  };
  const ticketBytes = Buffer.from(JSON.stringify(ticket));
  const evidence = {
    ...type(EVIDENCE),
    subject: [subject('output')],
    predicate: {
      job: id,
      ticket: { sha256: sha256Hex(ticketBytes) },
      epoch: 1,
      worker: { id: `w-${sha256Hex('worker').slice(0, 32)}`, publicKey: Buffer.alloc(32, 1).toString('base64') },
      model: { name: 'noop', sha256: sha256Hex(''), measured: true },
      engine: { name: 'noop', version: '1.0.0', sha256: sha256Hex('engine') },
      outputBytes: 9,
      usage: { inputTokens: 2, outputTokens: tokens },
      finishReason: 'stop',
      startedAt: at,
      finishedAt: at,
    },
  };
  const evidenceBytes = Buffer.from(JSON.stringify(evidence));
  const verdict = {
    ...type(VERDICT),
    subject: [{ name: 'evidence', digest: { sha256: sha256Hex(evidenceBytes) } }, subject('output')],
    predicate: {
      verifier: {
        id: 'urn:countersign:attestor:bench',
        policies: [{ uri: 'urn:countersign:policy:v1', digest: { sha256: sha256Hex('policy') } }],
      },
      timeCreated: new Date().toISOString(),
      properties: ['TICKET_SIGNATURE', 'WORKER_ENROLLED', 'WORKER_SIGNATURE', 'TICKET_MATCHED', 'EPOCH_CURRENT'],
      job: id,
      epoch: 1,
      ticket: { sha256: sha256Hex(ticketBytes) },
      decision: 'confirmed',
      recompute: { promisedShare: 0, drawn: false },
      notChecked: ['HARDWARE_NOT_ATTESTED'],
      refusals: [],
    },
  };
  const due = chargeOf(ticket.predicate, evidence.predicate, verdict.predicate);
  return { due, ticket: ticketBytes, evidence: evidenceBytes, verdict: Buffer.from(JSON.stringify(verdict)) };
}

/** Writes `count` of them, and the books that fit. */
export async function writeArchivedLedger(arena, count, say) {
  const attestor = ensureSigningKey(join(arena.folder, 'attestor.key'));
  const archive = new JobArchive(new FolderTree(join(arena.folder, 'log')));
  const unsigned = (payload) => ({ keyId: attestor.public.id, signature: Buffer.alloc(64, 7), payload });
  let charged = 0;
  async function* jsonl() {
    for (let from = 0; from < count; from += WRITTEN_AT_ONCE) {
      const [items, lines] = [[], []];
      for (let index = from; index < Math.min(count, from + WRITTEN_AT_ONCE); index += 1) {
        const atMs = BEGAN_MS + Math.floor((index * 27 * 86_400_000) / count);
        const id = newJobId('default', atMs);
        const { due, ticket, evidence, verdict } = documents(id, 1 + (index % 50));
        const body = recordBody({
          ...{ id, tenant: 'archived', model: 'noop', queue: 'default.noop', keyId: 'bench' },
          ...{ createdMs: atMs, deadlineMs: atMs + 300_000, maxAttempts: 3, isStored: true },
          attempts: [{ epoch: 1, worker: 'w', claimedMs: atMs, beganMs: atMs, committedMs: atMs + 9 }],
          ending: { epoch: 1, code: 'confirmed', detail: '' },
          ticket: unsigned(ticket),
          evidence: unsigned(evidence),
          verdict: signPayload(attestor, verdict),
          output: Buffer.from(`{"text":"${id}","finish_reason":"stop"}`),
          salt: Buffer.alloc(32, index),
        });
        const head = { state: 'done', index, endedMs: atMs + 10, tenant: 'archived', model: 'noop' };
        items.push({ index, entry: Buffer.alloc(180, 'e'), job: { id, record: recordBytes(head, body) } });
        const entry = ledgerEntry({ kind: 'charge', atMs, amount: due, key: 'bench', model: 'noop' }, PRICE);
        lines.push(`${JSON.stringify({ job: id, ...entry })}\n`);
        charged += due;
      }
      await archive.write('checkpoint', items);
      if ((from / WRITTEN_AT_ONCE) % 50 === 49) say(`ledger: ${from} records written`);
      yield lines.join('');
    }
  }
  const blobs = new BlobFolders(join(arena.folder, 'blobs'));
  const file = await blobs.ledgers.putStream(jsonl(), 64 * 2 ** 30);
  const period = {
    ...{ tenant: 'archived', month: MONTH, entries: count },
    ...{ sums: [{ currency: 'EUR', charged }], jsonl: file, csv: file },
  };
  const signed = signPayload(arena.apiKey, Buffer.from(JSON.stringify(period)), CLOSED_PERIOD_TYPE);
  await new ClosedPeriods(arena.admin, keys, blobs).close(period, signed);
  await arena.admin.hset(keys.account('archived'), 'EUR:spent', charged);
  await arena.admin.hset(keys.spent('archived', MONTH), 'EUR', charged);
  await arena.admin.hset(keys.log, 'size', count);
}
