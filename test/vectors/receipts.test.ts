import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { publicKeyFromRaw, verifyBytes } from '../../src/ground/keys/signing-key.ts';
import { preAuthEncoding, signPayload, toEnvelope } from '../../src/proof/receipts/dsse.ts';
import { Keyring, KeyringFile } from '../../src/proof/receipts/keyring.ts';
import { ReceiptRefused, verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import type { Verdict } from '../../src/proof/receipts/statements.ts';
import { formatSignature, signNote } from '../../src/proof/tlog/signed-note.ts';
import { ROOT } from '../support/redis.ts';
import { contradictions, sound } from '../support/contradictions.ts';
import {
  api,
  attestor,
  changedFields,
  documents,
  keyring,
  newKey,
  refusal,
  signed,
} from '../support/sample-receipts.ts';
import { IS_LONG } from '../support/thorough.ts';
import { describeVectors, vectors } from '../support/vectors.ts';

const COUNT = IS_LONG ? 1_000 : 200;

describe('a receipt', () => {
  test(`${COUNT} receipts verify, and a sample of single-byte changes to each is refused (test:long makes every one)`, () => {
    // So far apart that the places of all of them together lie all over a receipt.
    const step = 5_000 / COUNT;
    for (let number = 0; number < COUNT; number += 1) {
      const bytes = signed(documents(number));
      expect(refusal(bytes)).toBe('verified');
      // Every byte of the first; of each later one a byte at a place that moves on, so that all places are
      // met.
      const places =
        number === 0 ? bytes.keys() : [number * step, number * step + 1].map((place) => place % bytes.length);
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
    let tried = 0;
    for (const { place, bytes } of changedFields(documents(1), newKey())) {
      expect([place, refusal(bytes)]).not.toEqual([place, 'verified']);
      tried += 1;
    }
    expect(tried).toBeGreaterThan(300);
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
    const digest = { sha256: 'a'.repeat(64) };
    const hardware: Verdict['predicate']['hardware'] = {
      evidence: digest,
      policy: digest,
      verifiedAt: base.verdict.predicate.timeCreated,
      properties: ['TEE_SEV_SNP_OK'],
      warnings: [],
    };
    const attested = [...properties, 'HARDWARE_ATTESTED' as const];
    expect(verdictWith({ hardware, properties: attested, notChecked: [] })).toBe('verified');
    expect(verdictWith({ hardware, properties: attested })).toBe('promise_not_kept');
    expect(verdictWith({ hardware, notChecked: [] })).toBe('promise_not_kept');
    expect(verdictWith({ properties: attested, notChecked: [] })).toBe('promise_not_kept');
    const retokenized = [...properties, 'USAGE_RETOKENIZED' as const];
    expect(verdictWith({ properties: retokenized, usage: { inputTokens: 2, outputTokens: 0 } })).toBe('verified');
    expect(verdictWith({ properties: retokenized, usage: { inputTokens: 1, outputTokens: 0 } })).toBe(
      'promise_not_kept',
    );
    expect(verdictWith({ properties: retokenized, usage: { inputTokens: 2, outputTokens: 9 } })).toBe(
      'promise_not_kept',
    );
    expect(verdictWith({ properties: retokenized })).toBe('promise_not_kept');
    expect(verdictWith({ usage: { inputTokens: 2, outputTokens: 1 } })).toBe('promise_not_kept');
    for (const property of properties)
      expect([property, verdictWith({ properties: properties.filter((name) => name !== property) })]).toEqual([
        property,
        'promise_not_kept',
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

  test('without a key nobody writes a receipt in another way: members in another order, further lines and unknown signatures are refused', () => {
    const text = signed(documents(5)).toString();
    type Json = Record<string, unknown>;
    const file = JSON.parse(text) as Json & { log: { salt: string; proof: string } };
    const written = (value: unknown) => Buffer.from(`${JSON.stringify(value)}\n`);
    // The members of each object within the file, the other way round.
    const reordered = function* (value: unknown): Generator {
      if (typeof value !== 'object' || value === null) return;
      if (!Array.isArray(value)) yield Object.fromEntries(Object.entries(value).toReversed());
      for (const [name, item] of Object.entries(value))
        for (const changed of reordered(item))
          yield Array.isArray(value) ? value.with(Number(name), changed) : { ...value, [name]: changed };
    };
    const orders = [...reordered(file)];
    expect(orders).toHaveLength(8);
    for (const changed of orders) expect(refusal(written(changed))).toBe('malformed');
    const proof = (change: (proof: string) => string) =>
      refusal(written({ ...file, log: { ...file.log, proof: change(file.log.proof) } }));
    const line = file.log.proof.split('\n').at(-2) ?? '';
    const stranger = formatSignature(signNote('other\n', 'example.com/other', newKey()));
    expect(proof((own) => own)).toBe('verified');
    expect(proof((own) => own.replace('\nindex', '\nextra AAAA\nindex'))).toBe('not_logged');
    expect(proof((own) => `${own}${stranger}`)).toBe('not_logged');
    expect(proof((own) => own.replace(line, `${stranger}${line}`))).toBe('not_logged');
    expect(proof((own) => `${own}${line}\n`)).toBe('not_logged');
  });

  test('of a receipt that an editor has saved anew, the refusal says that it was reformatted', () => {
    const bytes = signed(documents(6));
    const pretty = Buffer.from(JSON.stringify(JSON.parse(bytes.toString()), null, 2));
    const marked = Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), bytes]);
    const wide = Buffer.concat([Buffer.of(0xff, 0xfe), Buffer.from(bytes.toString(), 'utf16le')]);
    const dos = Buffer.from(bytes.toString().replace('\n', '\r\n'));
    for (const saved of [pretty, marked, wide, dos, bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.from('\n')])]) {
      expect(() => verifyReceipt(saved, keyring)).toThrow(/reformatted.*original bytes/);
      expect(refusal(saved)).toBe('malformed');
    }
    expect(() => verifyReceipt(Buffer.from('{"receipt":"countersign/v1"}\n'), keyring)).toThrow('is not a receipt');
  });

  test('a verdict that contradicts itself is refused, though it holds the signature of the attestor', () => {
    for (const { place, bytes } of contradictions(documents(7)))
      expect([place, refusal(bytes)]).toEqual([place, /^(twice|shape)/.test(place) ? 'malformed' : 'promise_not_kept']);
    for (const { place, bytes } of sound(documents(7))) expect([place, refusal(bytes)]).toEqual([place, 'verified']);
  });

  test('duplicate members, other spellings of base64, exchanged types, two signatures and deep nesting are malformed', () => {
    const text = signed(documents(4)).toString();
    const file = JSON.parse(text) as { ticket: { payload: string; signatures: { keyid: string; sig: string }[] } };
    const with_ = (change: (copy: typeof file) => void) => {
      const copy = structuredClone(file);
      change(copy);
      return Buffer.from(`${JSON.stringify(copy)}\n`);
    };
    expect(refusal(Buffer.from(text.replace('"log":{', '"log":null,"log":{')))).toBe('malformed');
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

describeVectors('vectors by others', () => {
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
