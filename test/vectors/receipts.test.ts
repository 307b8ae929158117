import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { sha256Hex } from '../../src/blobs/blob-store.ts';
import {
  generateSigningKeyPem,
  publicKeyFromRaw,
  signingKeyFromPem,
  verifyBytes,
  workerIdOf,
  type SigningKey,
} from '../../src/keys/signing-key.ts';
import { preAuthEncoding, signPayload, toEnvelope } from '../../src/receipts/dsse.ts';
import { Keyring, KeyringFile, keyringEntry } from '../../src/receipts/keyring.ts';
import { ReceiptRefused, policyDigest, receiptFile, verifyReceipt } from '../../src/receipts/receipt.ts';
import {
  EVIDENCE_TYPE,
  STATEMENT_TYPE,
  TICKET_TYPE,
  VERDICT_TYPE,
  statementBytes,
  type Evidence,
  type Ticket,
  type Verdict,
} from '../../src/receipts/statements.ts';
import { newJobId } from '../../src/jobs/job-id.ts';
import { ROOT } from '../support/redis.ts';

const newKey = () => signingKeyFromPem(generateSigningKeyPem());
const api = newKey();
const attestor = newKey();
const worker = newKey();
const PAST = '2026-01-01T00:00:00.000Z';
const keyring = new Keyring({
  version: 1,
  keys: [keyringEntry('api', api.public, PAST), keyringEntry('attestor', attestor.public, PAST)],
});

interface Documents {
  ticket: Ticket;
  evidence: Evidence;
  verdict: Verdict;
}

/** Three documents that fit together; `number` makes each set another. */
function documents(number: number): Documents {
  const job = newJobId(1_790_000_000_000 + number);
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
      notChecked: ['HARDWARE_NOT_ATTESTED', 'TRANSPARENCY_LOG_ABSENT'],
      refusals: [],
    },
  };
  return { ticket, evidence, verdict };
}

function signed(
  { ticket, evidence, verdict }: Documents,
  keys: { api?: SigningKey; worker?: SigningKey; attestor?: SigningKey } = {},
): Buffer {
  return Buffer.from(
    receiptFile(
      signPayload(keys.api ?? api, statementBytes(ticket)),
      signPayload(keys.worker ?? worker, statementBytes(evidence)),
      signPayload(keys.attestor ?? attestor, statementBytes(verdict)),
    ),
  );
}

/** Why it is refused; "verified" where it is not. */
function refusal(bytes: Uint8Array): string {
  try {
    verifyReceipt(bytes, keyring);
    return 'verified';
  } catch (error) {
    if (error instanceof ReceiptRefused && error.message.length > 10) return error.reason;
    throw error;
  }
}

/** The document with one leaf replaced by another value of its type, for each leaf. */
function* mutations(value: unknown, path = ''): Generator<{ path: string; value: unknown }> {
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

describe('a receipt', () => {
  test('1,000 receipts verify, and each is refused when any one of a sample of its bytes is changed, added or taken away', () => {
    for (let number = 0; number < 1_000; number += 1) {
      const bytes = signed(documents(number));
      expect(refusal(bytes)).toBe('verified');
      // Every byte of the first; of each later one a byte at a place that moves on, so that all places are met.
      const places = number === 0 ? bytes.keys() : [number * 5, number * 5 + 1].map((place) => place % bytes.length);
      for (const place of places) {
        const flipped = Buffer.from(bytes);
        flipped[place] = (flipped[place] ?? 0) ^ (1 << (number % 8));
        expect([place, refusal(flipped)]).not.toEqual([place, 'verified']);
      }
      const place = (number * 13) % bytes.length;
      expect(refusal(Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1)]))).not.toBe('verified');
      expect(refusal(Buffer.concat([bytes.subarray(0, place), Buffer.from(' '), bytes.subarray(place)]))).not.toBe(
        'verified',
      );
    }
  });

  test('every single field that a forger changes is refused, also when the forger signs again with a key of its own', () => {
    const original = documents(1);
    const forger = newKey();
    let tried = 0;
    for (const name of ['ticket', 'evidence', 'verdict'] as const) {
      for (const { path, value } of mutations(original[name])) {
        const changed: Documents = { ...original, [name]: value };
        tried += 1;
        expect([
          name,
          path,
          refusal(
            signed(changed, { [name === 'ticket' ? 'api' : name === 'evidence' ? 'worker' : 'attestor']: forger }),
          ),
        ]).not.toEqual([name, path, 'verified']);
        // Kept signatures of the unchanged document do not fit the changed one either.
        const file = JSON.parse(signed(original).toString()) as Record<string, { payload: string }>;
        const envelope = file[name];
        if (envelope) envelope.payload = Buffer.from(JSON.stringify(value)).toString('base64');
        expect([name, path, refusal(Buffer.from(`${JSON.stringify(file)}\n`))]).not.toEqual([name, path, 'verified']);
      }
    }
    expect(tried).toBeGreaterThan(150);
  });

  test('even the attestor cannot confirm less than was promised, nor the API or the worker speak for another role', () => {
    const base = documents(2);
    const verdictWith = (change: Partial<Verdict['predicate']>) =>
      refusal(signed({ ...base, verdict: { ...base.verdict, predicate: { ...base.verdict.predicate, ...change } } }));
    const { properties } = base.verdict.predicate;
    expect(verdictWith({ decision: 'refuted' })).toBe('not_confirmed');
    expect(verdictWith({ properties: properties.filter((name) => name !== 'OUTPUT_RECOMPUTED_EXACT') })).toBe(
      'promise_not_kept',
    );
    expect(
      verdictWith({
        recompute: { promisedShare: 1, drawn: false },
        properties: properties.slice(0, 8),
        notChecked: ['OUTPUT_NOT_RECOMPUTED'],
      }),
    ).toBe('promise_not_kept');
    expect(verdictWith({ recompute: { promisedShare: 0, drawn: true } })).toBe('promise_not_kept');
    expect(verdictWith({ properties: [...properties, 'OUTPUT_RECOMPUTED_WITHIN_TOLERANCE'] })).toBe('promise_not_kept');
    expect(verdictWith({ properties: [...properties, 'WORKER_ENROLLED'] })).toBe('malformed');
    for (const property of properties)
      expect([property, verdictWith({ properties: properties.filter((name) => name !== property) })]).not.toEqual([
        property,
        property === 'USAGE_RECOUNTED' ? 'x' : 'verified',
      ]);
    expect(refusal(signed(base, { attestor: api }))).toBe('untrusted_key');
    expect(refusal(signed(base, { api: attestor }))).toBe('untrusted_key');
    expect(refusal(signed(base, { worker: attestor }))).toBe('wrong_worker');
    const other = documents(3);
    for (const mixed of [
      { ...base, ticket: other.ticket },
      { ...base, evidence: other.evidence },
      { ...base, verdict: other.verdict },
    ])
      expect(refusal(signed(mixed))).toBe('mismatch');
  });

  test('duplicate members, other spellings of base64, exchanged types, two signatures and deep nesting are malformed', () => {
    const text = signed(documents(4)).toString();
    const file = JSON.parse(text) as { ticket: { payload: string; signatures: { keyid: string; sig: string }[] } };
    const with_ = (change: (copy: typeof file) => void) => {
      const copy = structuredClone(file);
      change(copy);
      return Buffer.from(`${JSON.stringify(copy)}\n`);
    };
    expect(refusal(Buffer.from(text.replace('"log":null', '"log":null,"log":null')))).toBe('malformed');
    expect(refusal(Buffer.from(text.replace('{"receipt"', '{ "receipt"')))).toBe('malformed');
    expect(refusal(Buffer.from(text.slice(0, -1)))).toBe('malformed');
    expect(refusal(Buffer.from(`${text}\n`))).toBe('malformed');
    expect(refusal(with_((copy) => (copy.ticket.payload += '=')))).toBe('malformed');
    expect(refusal(with_((copy) => copy.ticket.signatures.push({ keyid: '0'.repeat(64), sig: '' })))).toBe('malformed');
    expect(refusal(Buffer.from(text.replace('application/vnd.in-toto+json', 'application/json')))).toBe('malformed');
    expect(refusal(Buffer.from('['.repeat(100_000)))).toBe('malformed');
    expect(refusal(Buffer.alloc(300_000, 'x'))).toBe('too_large');
    const twice = Buffer.from(JSON.stringify(documents(4).ticket).replace('"attempts":3', '"attempts":3,"attempts":3'));
    const parts = documents(4);
    const envelope = toEnvelope(signPayload(api, twice));
    expect(
      refusal(
        Buffer.from(`${JSON.stringify({ ...(JSON.parse(signed(parts).toString()) as object), ticket: envelope })}\n`),
      ),
    ).toBe('malformed');
  });
});

const VECTORS = process.env['COUNTERSIGN_VECTORS'] ?? join(ROOT, '..', 'shared', 'vectors');
const there = existsSync(VECTORS);
if (!there) {
  if (process.env['CI'] === 'true') throw new Error(`The test vectors must be at ${VECTORS} in CI.`);
  process.stderr.write(`SKIPPED: there are no test vectors by others at ${VECTORS}\n`);
}
const vectors = (name: string): unknown => JSON.parse(readFileSync(join(VECTORS, name), 'utf8'));

(there ? describe : describe.skip)('vectors by others', () => {
  test('every small-order key is refused', () => {
    const hex = JSON.stringify(vectors('ed25519/small-order-public-keys.json')).match(/[0-9a-f]{64}/g) ?? [];
    expect(hex.length).toBeGreaterThanOrEqual(8);
    for (const key of hex) expect(() => publicKeyFromRaw(Buffer.from(key, 'hex'))).toThrow();
  });

  test('Ed25519 agrees with Wycheproof in all cases', () => {
    const { testGroups } = vectors('ed25519/wycheproof.ed25519_test.json') as {
      testGroups: { publicKey: { pk: string }; tests: { msg: string; sig: string; result: string; tcId: number }[] }[];
    };
    let cases = 0;
    for (const { publicKey, tests } of testGroups) {
      const key = publicKeyFromRaw(Buffer.from(publicKey.pk, 'hex'));
      for (const { msg, sig, result, tcId } of tests) {
        expect([tcId, verifyBytes(key, Buffer.from(msg, 'hex'), Buffer.from(sig, 'hex'))]).toEqual([
          tcId,
          result === 'valid',
        ]);
        cases += 1;
      }
    }
    expect(cases).toBeGreaterThanOrEqual(150);
  });

  test('the pre-authentication encoding is that of the DSSE specification', () => {
    const vector = vectors('dsse/dsse-spec-vector.json') as Record<string, unknown>;
    const text = JSON.stringify(vector);
    expect(text).toContain('DSSEv1 29 http://example.com/HelloWorld 11 hello world');
    expect(preAuthEncoding('http://example.com/HelloWorld', Buffer.from('hello world')).toString()).toBe(
      'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
    );
  });
});

describe('our own vectors, for verifiers in other languages', () => {
  const folder = join(ROOT, 'test', 'vectors');
  const trust = new Keyring(KeyringFile.parse(JSON.parse(readFileSync(join(folder, 'keyring.json'), 'utf8'))));
  test.each(readdirSync(folder).filter((name) => name.endsWith('.case.json')))('%s', (name) => {
    const { reason, receipt } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as {
      reason: string | null;
      receipt: string;
    };
    const found = (() => {
      try {
        verifyReceipt(Buffer.from(receipt, 'base64'), trust);
        return null;
      } catch (error) {
        return error instanceof ReceiptRefused ? error.reason : String(error);
      }
    })();
    expect(found).toBe(reason);
  });
});
