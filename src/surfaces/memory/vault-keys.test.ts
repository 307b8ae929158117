import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { afterAll, expect, test } from '@jest/globals';
import { PlayedVault } from '../../../test/support/played-vault.ts';
import { KeyStore } from './key-store.ts';
import { VaultKeys } from './vault-keys.ts';
import { ChangedWrapping, WrappingKey } from './wrapping-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'cs-vault-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ONE = `own_${'1'.repeat(24)}`;
const TWO = `own_${'2'.repeat(22)}11`;
const pathOf = (keys: string, holder: string) => join(keys, holder.slice(-2), `${holder}.1.key`);
const textsOf = (keys: string) =>
  readdirSync(keys, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => readFileSync(join(one.parentPath, one.name), 'utf8'));

test('a key that the transit engine sealed is opened again, after rotations too, and the file of one owner is no other’s', async () => {
  const vault = await PlayedVault.start();
  const keys = join(folder, 'rotated');
  const store = new KeyStore(keys, new VaultKeys(vault.place));
  const [one, two] = [await store.create(ONE, 1), await store.create(TWO, 1)];
  expect(await store.get(ONE, 1)).toEqual(one);
  expect(await store.rewrapAll()).toBe(0);
  for (const text of textsOf(keys)) {
    expect(text).toContain('transit/countersign:1');
    for (const key of [one, two]) expect(text).not.toContain(key.toString('base64').slice(0, 20));
  }
  vault.rotate();
  vault.asked = [];
  expect(await store.rewrapAll()).toBe(2);
  // The server has sealed them anew: none came here.
  expect(vault.asked).toEqual(['keys', 'rewrap', 'rewrap']);
  vault.minDecryptionVersion = 2;
  expect([await store.get(ONE, 1), await store.get(TWO, 1)]).toEqual([one, two]);
  copyFileSync(pathOf(keys, ONE), pathOf(keys, TWO));
  await expect(store.get(TWO, 1)).rejects.toMatchObject({ code: 'key_file_unfit' });
  expect(await store.destroyBelow(ONE, 2)).toBe(1);
  expect(await store.get(ONE, 1)).toBeUndefined();
  await vault.close();
});

test('a server that is sealed, gone or refuses is one clear error, and nothing is lost by it', async () => {
  const vault = await PlayedVault.start();
  const store = new KeyStore(join(folder, 'away'), new VaultKeys(vault.place));
  const key = await store.create(ONE, 1);
  vault.isSealed = true;
  await expect(store.get(ONE, 1)).rejects.toMatchObject({ code: 'memory_unavailable', status: 503 });
  vault.isSealed = false;
  const stranger = new KeyStore(join(folder, 'away'), new VaultKeys({ ...vault.place, token: 'another' }));
  await expect(stranger.get(ONE, 1)).rejects.toMatchObject({ code: 'key_file_unfit', message: /refuses with 403/ });
  expect(await store.get(ONE, 1)).toEqual(key);
  const many = await Promise.all(Array.from({ length: 100 }, () => store.get(ONE, 1)));
  expect(many).toHaveLength(100);
  await vault.close();
  await expect(store.get(ONE, 1)).rejects.toMatchObject({ code: 'memory_unavailable' });
});

test('keys that a file sealed go over to the server at the next start, and the file is needed no more', async () => {
  const vault = await PlayedVault.start();
  const keyFile = join(folder, 'wrapping.key');
  writeFileSync(keyFile, randomBytes(32).toString('base64url'), { mode: 0o600 });
  const [file, now] = [WrappingKey.read(keyFile), new VaultKeys(vault.place)];
  const keys = join(folder, 'moved');
  const key = await new KeyStore(keys, file).create(ONE, 1);
  const both = new KeyStore(keys, new ChangedWrapping(now, file));
  // Before it is sealed anew it is opened all the same.
  expect(await both.get(ONE, 1)).toEqual(key);
  expect([await both.rewrapAll(), await both.rewrapAll()]).toEqual([1, 0]);
  expect(await new KeyStore(keys, now).get(ONE, 1)).toEqual(key);
  vault.rotate();
  expect(await both.rewrapAll()).toBe(1);
  expect(await both.get(ONE, 1)).toEqual(key);
  await vault.close();
});
