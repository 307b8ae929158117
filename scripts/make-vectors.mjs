// Writes test/vectors: good receipts, and bad ones with the reason for which each is refused. Run it once for
// each version of the format, after a build. The keys are new and are not kept.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { root } from './setup.mjs';

const load = (path) => import(new URL(`../dist/${path}`, import.meta.url).href);
const { generateSigningKeyPem, signingKeyFromPem, workerIdOf } = await load('ground/keys/signing-key.js');
const { signPayload } = await load('proof/receipts/dsse.js');
const { receiptFile, policyDigest } = await load('proof/receipts/receipt.js');
const { BINDING_PROPERTIES } = await load('proof/receipts/promises/binding.js');
const { keyringEntry } = await load('proof/receipts/keyring.js');
const { formatCheckpoint } = await load('proof/tlog/checkpoint.js');
const { logEntry } = await load('proof/tlog/log-entry.js');
const { leafHash, nodeHash } = await load('proof/tlog/merkle.js');
const { formatNote, formatSignature, formatVkey, noteKey, signNote } = await load('proof/tlog/signed-note.js');
const { formatProof } = await load('proof/tlog/tlog-proof.js');
const { sha256Hex } = await load('ground/blobs/sha256.js');

const key = () => signingKeyFromPem(generateSigningKeyPem());
const [api, attestor, worker, log] = [key(), key(), key(), key()];
const ORIGIN = 'countersign.example/log';
const at = '2026-11-21T12:00:00.000Z';
const job = 'job_q8e101m7z00000000000000000000a';
const type = 'https://in-toto.io/Statement/v1';
const bytes = (value) => Buffer.from(JSON.stringify(value));
const input = '{"prompt":"In the beginning"}';
const output = '{"text":" God created","finish_reason":"length"}';

function documents({ recompute = 1, drawn = true, decision = 'confirmed', model = 'weights', answered = output } = {}) {
  const ticket = {
    _type: type,
    subject: [{ name: 'input', digest: { sha256: sha256Hex(input) } }],
    predicateType: 'urn:countersign:ticket:v1',
    predicate: {
      job,
      tenant: 'acme',
      pool: 'default',
      model: { name: 'kjv-1m', sha256: sha256Hex('weights') },
      task: 'completion',
      params: { max_tokens: 2, temperature: 0, top_p: 1, seed: 7, stop: [] },
      inputBytes: input.length,
      policy: { recompute },
      attempts: 3,
      createdAt: at,
      deadline: '2026-11-21T12:10:00.000Z',
      nonce: Buffer.alloc(32, 7).toString('base64url'),
    },
  };
  const ticketDigest = sha256Hex(bytes(ticket));
  const evidence = {
    _type: type,
    subject: [{ name: 'output', digest: { sha256: sha256Hex(output) } }],
    predicateType: 'urn:countersign:evidence:v1',
    predicate: {
      job,
      ticket: { sha256: ticketDigest },
      epoch: 1,
      worker: { id: workerIdOf(worker.public), publicKey: worker.public.raw },
      model: { name: 'kjv-1m', sha256: sha256Hex(model), measured: true },
      engine: { name: 'llama', version: '3.22.1', sha256: sha256Hex('engine') },
      outputBytes: output.length,
      usage: { inputTokens: 3, outputTokens: 2 },
      finishReason: 'length',
      startedAt: at,
      finishedAt: at,
    },
  };
  const verdict = {
    _type: type,
    subject: [
      { name: 'evidence', digest: { sha256: sha256Hex(bytes(evidence)) } },
      { name: 'output', digest: { sha256: sha256Hex(answered) } },
    ],
    predicateType: 'https://in-toto.io/attestation/svr/v0.2',
    predicate: {
      verifier: {
        id: `urn:countersign:attestor:${attestor.public.id.slice(0, 32)}`,
        policies: [{ uri: 'urn:countersign:policy:v1', digest: { sha256: policyDigest({ recompute }) } }],
      },
      timeCreated: '2026-11-21T12:00:01.000Z',
      properties: drawn ? [...BINDING_PROPERTIES, 'USAGE_RECOUNTED', 'OUTPUT_RECOMPUTED_EXACT'] : BINDING_PROPERTIES,
      job,
      epoch: 1,
      ticket: { sha256: ticketDigest },
      decision,
      recompute: { promisedShare: recompute, drawn },
      notChecked: [...(drawn ? [] : ['OUTPUT_NOT_RECOMPUTED']), 'HARDWARE_NOT_ATTESTED'],
      refusals: [],
    },
  };
  return { ticket, evidence, verdict };
}

/** Proves the verdict as the second of two entries of a log. */
function logPart(verdict, key) {
  const salt = createHash('sha256').update(verdict.signature).digest();
  const [other, entry] = [Buffer.from('{}'), logEntry('verdict', verdict.keyId, verdict.payload, salt)].map(leafHash);
  const text = formatCheckpoint({ origin: ORIGIN, size: 2, root: nodeHash(other, entry) });
  const checkpoint = formatNote({ text, signatures: [signNote(text, ORIGIN, key)] });
  return { salt: salt.toString('base64'), proof: formatProof({ index: 1, hashes: [other], checkpoint }) };
}

function receipt({ ticket, evidence, verdict }, keys = {}) {
  const verdictSigned = signPayload(keys.attestor ?? attestor, bytes(verdict));
  return receiptFile(
    signPayload(keys.api ?? api, bytes(ticket)),
    signPayload(keys.worker ?? worker, bytes(evidence)),
    verdictSigned,
    logPart(verdictSigned, keys.log ?? log),
  );
}

const good = receipt(documents());
const parsed = JSON.parse(good);
const otherSignature = structuredClone(parsed);
otherSignature.verdict.signatures[0].sig = parsed.ticket.signatures[0].sig;
const spelled = structuredClone(parsed);
spelled.ticket.payload = `${spelled.ticket.payload}=`;
const smallOrder = documents();
smallOrder.evidence.predicate.worker.publicKey = Buffer.from(`01${'00'.repeat(31)}`, 'hex').toString('base64');
const late = documents();
late.evidence.predicate.epoch = 2;

const reordered = { ...parsed, log: { proof: parsed.log.proof, salt: parsed.log.salt } };
const proven = (proof) => `${JSON.stringify({ ...parsed, log: { ...parsed.log, proof } })}\n`;
const stranger = formatSignature(signNote('another text\n', 'example.com/stranger', worker));
const exactAndDifferent = documents();
exactAndDifferent.verdict.predicate.recompute.maxAbsDiff = 5;
const withTwo = documents();
withTwo.verdict.predicate.notChecked.push('HARDWARE_NOT_ATTESTED');
const unknownWord = documents();
unknownWord.verdict.predicate.properties = [...unknownWord.verdict.predicate.properties, 'ALL_IS_WELL'];

const otherSalt = Buffer.alloc(32).toString('base64');
const cases = {
  'good-recomputed': [null, good],
  'good-not-recomputed': [null, receipt(documents({ recompute: 0, drawn: false }))],
  'good-share-not-drawn': [null, receipt(documents({ recompute: 0.25, drawn: false }))],
  'bad-signature': ['bad_signature', `${JSON.stringify(otherSignature)}\n`],
  'bad-base64-spelling': ['malformed', `${JSON.stringify(spelled)}\n`],
  'bad-duplicate-member': ['malformed', good.replace('"log":{', '"log":null,"log":{')],
  'bad-white-space': ['malformed', good.replace('{"receipt"', '{ "receipt"')],
  'bad-no-line-end': ['malformed', good.trimEnd()],
  'bad-verdict-by-worker': ['untrusted_key', receipt(documents(), { attestor: worker })],
  'bad-ticket-by-attestor': ['untrusted_key', receipt(documents(), { api: attestor })],
  'bad-evidence-by-api': ['wrong_worker', receipt(documents(), { worker: api })],
  'bad-small-order-worker': ['wrong_worker', receipt(smallOrder)],
  'bad-other-output': ['mismatch', receipt(documents({ answered: 'another' }))],
  'bad-other-model': ['mismatch', receipt(documents({ model: 'smaller' }))],
  'bad-other-epoch': ['mismatch', receipt(late)],
  'bad-refuted': ['not_confirmed', receipt(documents({ decision: 'refuted' }))],
  'bad-log-key': ['not_logged', receipt(documents(), { log: attestor })],
  'bad-log-index': ['not_logged', good.replace('\\nindex 1\\n', '\\nindex 0\\n')],
  'bad-log-salt': ['not_logged', `${JSON.stringify({ ...parsed, log: { ...parsed.log, salt: otherSalt } })}\n`],
  'bad-log-absent': ['malformed', `${JSON.stringify({ ...parsed, log: null })}\n`],
  'bad-member-order': ['malformed', `${JSON.stringify(reordered)}\n`],
  'bad-saved-anew': ['malformed', `${JSON.stringify(parsed, null, 2)}\n`],
  'bad-unknown-word': ['malformed', receipt(unknownWord)],
  'bad-word-twice': ['malformed', receipt(withTwo)],
  'bad-proof-with-extra-line': ['not_logged', proven(parsed.log.proof.replace('\nindex', '\nextra AAAA\nindex'))],
  'bad-proof-with-unknown-signature': ['not_logged', proven(`${parsed.log.proof}${stranger}`)],
  'bad-difference-met': ['promise_not_kept', receipt(exactAndDifferent)],
  'bad-downgraded': ['promise_not_kept', receipt(documents({ recompute: 1, drawn: false }))],
};
for (const [name, [reason, text]] of Object.entries(cases)) {
  writeFileSync(
    `${root}test/vectors/${name}.case.json`,
    `${JSON.stringify({ reason, receipt: Buffer.from(text).toString('base64') }, null, 2)}\n`,
  );
}
writeFileSync(
  `${root}test/vectors/keyring.json`,
  `${JSON.stringify({ version: 1, keys: [keyringEntry('api', api.public, '2026-01-01T00:00:00.000Z'), keyringEntry('attestor', attestor.public, '2026-01-01T00:00:00.000Z')], logPolicy: `log ${formatVkey(noteKey(ORIGIN, 'ed25519', log.public))}\nquorum none\n` }, null, 2)}\n`,
);
