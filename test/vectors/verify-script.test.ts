import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Keyring, KeyringFile } from '../../src/proof/receipts/keyring.ts';
import { cosignNote, formatSignature, formatVkey, noteKey } from '../../src/proof/tlog/signed-note.ts';
import { contradictions, rebound, sound } from '../support/contradictions.ts';
import { ROOT } from '../support/redis.ts';
import {
  changedFields,
  documents,
  keyringFile,
  mutations,
  newKey,
  refusal,
  signed,
} from '../support/sample-receipts.ts';
import { IS_LONG } from '../support/thorough.ts';

const SCRIPT = join(ROOT, 'examples', 'verify.py');
const missing = spawnSync('python3', ['-c', 'import cryptography'], { encoding: 'utf8' });
const isThere = missing.status === 0;
if (!isThere)
  process.stderr.write(`SKIPPED: python3 or its package cryptography is not here; ${SCRIPT} was not tried\n`);
const describeScript = isThere ? describe : describe.skip;

/** What the script says of each receipt, all in one process. */
function byScript(receipts: readonly Buffer[], keyring: KeyringFile): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'cs-verify-'));
  try {
    const path = join(folder, 'keyring.json');
    writeFileSync(path, JSON.stringify(keyring));
    const input = receipts.map((bytes) => `${bytes.toString('base64')}\n`).join('');
    const { stdout, stderr } = spawnSync('python3', [SCRIPT, '--lines', path], { input, maxBuffer: 2 ** 26 });
    expect(stderr.toString()).toBe('');
    return stdout.toString().trimEnd().split('\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Numbers from a seed, the same in each run (mulberry32). */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const ODD: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  2,
  0.5,
  1e-7,
  1.5e300,
  2 ** 53,
  2 ** 53 - 1,
  1e21,
  4_294_967_295,
  131_073,
  '',
  'a',
  'A',
  '\ud800',
  '\u2028',
  'x'.repeat(65),
  '\u{1f600}'.repeat(33),
  '0'.repeat(64),
  '2026-02-30T00:00:00.000Z',
  '0000-02-29T23:59:59.999Z',
  '9999-12-31T23:59:59.999Z',
  '2026-01-01T00:00:00Z',
  '2026-01-01T24:00:00.000Z',
  'none',
  'tool_calls',
  'embedding',
  'chat',
  'refuted',
  'HARDWARE_ATTESTED',
  'TOKENS_REPLAYED',
  [],
  ['a', 'a'],
  {},
  { of: 2, agree: 2 },
  { sha256: 'a'.repeat(64) },
  { inputTokens: 2, outputTokens: 1 },
];

/** The value with one part, chosen by `pick`, replaced by something odd, or a member added or moved. */
function spoilt(value: unknown, pick: (below: number) => number): unknown {
  if (typeof value !== 'object' || value === null || pick(6) === 0) return ODD[pick(ODD.length)];
  const entries = Object.entries(value);
  const at = pick(entries.length + 1);
  const entry = entries[at];
  if (Array.isArray(value))
    return entry === undefined
      ? [...(value as unknown[]), ODD[pick(ODD.length)]]
      : value.with(at, spoilt(entry[1], pick));
  if (entry === undefined)
    return { ...value, [['tee', 'tokens', 'usage', 'fixed', 'x'][pick(5)] ?? '']: ODD[pick(ODD.length)] };
  if (pick(8) === 0) return Object.fromEntries(entries.toReversed());
  return { ...value, [entry[0]]: spoilt(entry[1], pick) };
}

/** The text with a piece taken out, doubled, exchanged, or one character of it changed. */
function garbled(text: string, pick: (below: number) => number): string {
  const lines = text.split('\n');
  const [at, other] = [pick(lines.length), pick(lines.length)];
  const line = lines[at] ?? '';
  switch (pick(5)) {
    case 0:
      return lines.toSpliced(at, 1).join('\n');
    case 1:
      return lines.toSpliced(other, 0, line).join('\n');
    case 2:
      return lines
        .with(at, lines[other] ?? '')
        .with(other, line)
        .join('\n');
    case 3:
      return lines.with(at, `${line} `).join('\n');
    default: {
      const place = pick(text.length);
      return `${text.slice(0, place)}${['A', '0', '9', ' ', '=', '\n'][pick(6)] ?? ''}${text.slice(place + 1)}`;
    }
  }
}

/** A receipt whose proof is another text. */
function proven(bytes: Buffer, change: (proof: string) => string): Buffer {
  const file = JSON.parse(bytes.toString()) as { log: { proof: string } };
  return Buffer.from(`${JSON.stringify({ ...file, log: { ...file.log, proof: change(file.log.proof) } })}\n`);
}

/** Documents that the right keys have signed, one of them spoilt before. */
function resigned(number: number, pick: (below: number) => number): Buffer {
  const base = documents(number);
  const name = (['ticket', 'evidence', 'verdict'] as const)[pick(3)] ?? 'ticket';
  const spoiltOne = { ...base, [name]: { ...base[name], predicate: spoilt(base[name].predicate, pick) } };
  return pick(3) === 0 ? signed(spoiltOne) : rebound(spoiltOne);
}

describeScript('the verifier in Python, written from the page', () => {
  test('agrees on every vector', () => {
    const folder = join(ROOT, 'test', 'vectors');
    const keyring = KeyringFile.parse(JSON.parse(readFileSync(join(folder, 'keyring.json'), 'utf8')));
    const cases = readdirSync(folder)
      .filter((name) => name.endsWith('.case.json'))
      .map((name) => {
        const read = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { reason: string | null; receipt: string };
        return { name, ...read };
      });
    const found = byScript(
      cases.map(({ receipt }) => Buffer.from(receipt, 'base64')),
      keyring,
    );
    expect(cases.map(({ name }, at) => [name, found[at]])).toEqual(
      cases.map(({ name, reason }) => [name, reason ?? 'verified']),
    );
  });

  test('agrees on thousands of receipts that were changed, by forgers and by those who hold the keys', () => {
    const pick = numbersFrom(20_261_126);
    const receipts: Buffer[] = [];
    for (const { bytes } of [...contradictions(documents(3)), ...sound(documents(3))]) receipts.push(bytes);
    for (const { bytes } of changedFields(documents(4), newKey())) receipts.push(bytes);
    for (const name of ['ticket', 'evidence', 'verdict'] as const)
      for (const { value } of mutations(documents(5)[name])) receipts.push(rebound({ ...documents(5), [name]: value }));
    while (receipts.length < (IS_LONG ? 5_000 : 1_500)) {
      const number = pick(50);
      const whole = signed(documents(number));
      const text = whole.toString();
      const kind = pick(5);
      if (kind === 0) receipts.push(proven(whole, (proof) => garbled(proof, pick)));
      else if (kind === 1) receipts.push(Buffer.from(`${JSON.stringify(spoilt(JSON.parse(text), pick))}\n`));
      else if (kind === 2) receipts.push(Buffer.from(garbled(text, pick)));
      else receipts.push(resigned(number, pick));
    }
    expectAgreement(receipts, keyringFile());
  });

  test('agrees where witnesses are wanted, whoever of them has signed, when, twice, or in another order', () => {
    const pick = numbersFrom(7);
    const witnesses = ['a', 'b', 'c'].map((name) => ({ name: `${name}.test`, key: newKey() }));
    const lines = witnesses.map(
      ({ name, key }, at) => `witness w${at} ${formatVkey(noteKey(name, 'cosignature/v1', key.public))}\n`,
    );
    const unread = `q+00000000+${Buffer.concat([Buffer.of(6), Buffer.alloc(1_312)]).toString('base64')}`;
    const policy = `${lines.join('')}witness q ${unread}\ngroup g 2 w0 w1 w2 q\nquorum g\n`;
    const receipts = Array.from({ length: IS_LONG ? 300 : 100 }, (_, number) => {
      const decided = Math.floor(Date.parse(documents(number).verdict.predicate.timeCreated) / 1_000);
      return proven(signed(documents(number)), (proof) => {
        const text = proof.slice(proof.indexOf('\n\n') + 2, proof.lastIndexOf('\n\n') + 1);
        const cosigned = witnesses
          .filter(() => pick(4) > 0)
          .map(({ name, key }) => formatSignature(cosignNote(text, name, key, decided + pick(200) - 100)));
        if (pick(6) > 0) cosigned.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
        if (pick(9) === 0) cosigned.push(cosigned[0] ?? '');
        const whole = `${proof}${cosigned.join('')}`;
        return pick(6) === 0 ? garbled(whole, pick) : whole;
      });
    });
    const found = expectAgreement(receipts, keyringFile(policy));
    expect(new Set(found)).toEqual(new Set(['verified', 'not_logged', 'mismatch']));
  });
});

/** Demands that both verifiers say the same of each receipt; returns what they say. */
function expectAgreement(receipts: readonly Buffer[], file: KeyringFile): string[] {
  const keyring = new Keyring(file);
  const ours = receipts.map((bytes) => refusal(bytes, keyring));
  const found = byScript(receipts, file);
  expect(found).toHaveLength(receipts.length);
  const differing = receipts.flatMap((bytes, at) =>
    found[at] === ours[at] ? [] : [{ ours: ours[at], script: found[at], receipt: bytes.toString() }],
  );
  expect(differing.slice(0, 3)).toEqual([]);
  // The changes reach every rule and not the first ones alone.
  expect(new Set(ours).size).toBeGreaterThan(2);
  return ours;
}
