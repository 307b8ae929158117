import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { formatVkey, noteKey } from '../tlog/signed-note.ts';
import { readKeyring } from './keyring-file.ts';
import { Keyring, KeyringFile, keyringEntry } from './keyring.ts';
import { verifyReceipt } from './receipt.ts';

const MAY = '2026-05-01T00:00:00.000Z';
const JUNE = '2026-06-01T00:00:00.000Z';
const ms = (time: string) => Date.parse(time);
const [api, attestor] = [new SigningKey(Buffer.alloc(32, 1)), new SigningKey(Buffer.alloc(32, 2))];
const logPolicy = `log ${formatVkey(noteKey('example.com/log', 'ed25519', api.public))}\nquorum none\n`;
const keys = [
  keyringEntry('api', api.public, MAY),
  { ...keyringEntry('attestor', attestor.public, MAY), notAfter: JUNE },
];
const keyring = new Keyring({ version: 1, keys, logPolicy });

const OTHER_FILES = [
  '',
  'x',
  '[]',
  'null',
  '{}\n',
  '{"version":1,"keys":[{}]}',
  '{"object":"chat.completion","choices":[]}',
  '{"receipt":"countersign/v1"}\n',
];

describe('a file that is another one', () => {
  test.each(OTHER_FILES)('is told in one sentence to who gives it as a keyring: %j', (text) => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-keyring-'));
    const path = join(folder, 'keyring.json');
    writeFileSync(path, text);
    expect(() => readKeyring(path)).toThrow(/^\S+ is not a keyring: [^{\n]{5,200}$/);
    rmSync(folder, { recursive: true });
  });

  test.each(OTHER_FILES)('is told in one sentence to who gives it as a receipt: %j', (text) => {
    expect(() => verifyReceipt(Buffer.from(text), keyring)).toThrow(/^The file is not a receipt: [^{\n]{5,200}$/);
    if (text.startsWith('{"o')) expect(() => verifyReceipt(Buffer.from(text), keyring)).toThrow(/JSON of another kind/);
  });
});

describe('a keyring', () => {
  test('has a key only for the role that it was given', () => {
    expect(keyring.find('api', api.public.id, ms(JUNE))).toMatchObject({ id: api.public.id });
    expect(keyring.find('attestor', api.public.id, ms(JUNE))).toHaveProperty('refused');
    expect(keyring.find('registry', attestor.public.id, ms(MAY))).toHaveProperty('refused');
  });

  test('has a key only for its time, with one second before it for clocks that differ', () => {
    const isFound = (atMs: number) => !('refused' in keyring.find('attestor', attestor.public.id, atMs));
    expect([ms(MAY) - 1_001, ms(MAY) - 1_000, ms(JUNE), ms(JUNE) + 1].map(isFound)).toEqual([false, true, true, false]);
  });

  test('is refused with a key under the id of another', () => {
    const [entry] = keys;
    if (entry === undefined) throw new Error('there is an entry');
    expect(() => new Keyring({ version: 1, keys: [{ ...entry, id: attestor.public.id }], logPolicy })).toThrow(
      'has the digest',
    );
  });

  test.each([
    ['no keys', { version: 1, keys: [], logPolicy }],
    ['another version', { version: 2, keys, logPolicy }],
    ['an unknown member', { version: 1, keys, logPolicy, trustEverything: true }],
    ['an unknown role', { version: 1, keys: [{ ...keys[0], role: 'admin' }], logPolicy }],
  ])('is malformed with %s', (_, file) => {
    expect(KeyringFile.safeParse(file).success).toBe(false);
  });
});
