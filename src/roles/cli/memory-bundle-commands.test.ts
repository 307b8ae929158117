import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { anEntry, anOrigin, aSeal, bundleOf, sourceOf } from '../../../test/support/memories.ts';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { keyringEntry } from '../../proof/receipts/keyring.ts';
import { formatVkey, noteKey } from '../../proof/tlog/signed-note.ts';
import { DataFolder } from './data-folder.ts';
import { addMemoryBundleCommands } from './memory-bundle-commands.ts';
import { newProgram } from './program.ts';

const folder = mkdtempSync(join(tmpdir(), 'memory-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const key = new SigningKey(Buffer.alloc(32, 7));
const entry = anEntry({
  origins: [{ ...anOrigin, receipt: { job: `job_${'0'.repeat(30)}`, sha256: 'e'.repeat(64) } }],
});
const logPolicy = `log ${formatVkey(noteKey('example.com/log', 'ed25519', key.public))}\nquorum none\n`;
const keyringOf = ({ public: own }: SigningKey) => ({
  version: 1,
  keys: [keyringEntry('api', own, '2026-01-01T00:00:00.000Z')],
  logPolicy,
});

beforeEach(async () => {
  writeFileSync(at('signed'), await bundleOf(sourceOf([{ entry }]), { ...aSeal, key }));
  writeFileSync(at('unsigned'), await bundleOf(sourceOf([{ entry }])));
  writeFileSync(at('corrected'), await bundleOf(sourceOf([{ entry: { ...entry, text: 'No longer.' } }])));
  writeFileSync(at('keyring'), JSON.stringify(keyringOf(key)));
  writeFileSync(at('strangers'), JSON.stringify(keyringOf(new SigningKey(Buffer.alloc(32, 8)))));
});

/** What the command prints; throws what it throws. */
async function run(...words: string[]): Promise<string> {
  const program = newProgram();
  const cli = { program, data: new DataFolder(at('nothing'), {}) };
  addMemoryBundleCommands(cli, program.command('memory'));
  const written: string[] = [];
  const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written.push(String(text));
    return true;
  });
  try {
    await program.parseAsync(['memory', ...words], { from: 'user' });
  } finally {
    write.mockRestore();
  }
  return written.join('');
}

describe('countersign memory verify', () => {
  test('says what was checked and what was not', async () => {
    expect(await run('verify', at('signed'), '--keyring', at('keyring'))).toMatch(
      /1 entries, 0 tombstones.*\n.*signed by the key.*\n.*not checked: 1 receipts that entries name/,
    );
    expect(await run('verify', at('signed'))).toContain('not checked: who wrote it (no keyring');
    const json: unknown = JSON.parse(await run('verify', at('unsigned'), '--json'));
    expect(json).toMatchObject({ verified: true, entries: 1, signed_by: null, receipts: { absent: 1 } });
  });

  test('shows what a stranger wrote into a bundle, and lets it do nothing', async () => {
    const owner = 'Ann\u001b[2J\u009b2J\u202e';
    writeFileSync(at('hostile'), await bundleOf(sourceOf([{ entry }]), { ...aSeal, owner }));
    expect(await run('verify', at('hostile'))).toMatch(/^memories of Ann\?\[2J\?2J\?, written/);
  });

  test.each([
    ['by nobody', 'unsigned', 'keyring'],
    ['by a stranger', 'signed', 'strangers'],
  ])('refuses a bundle signed %s where a keyring is given', async (_, bundle, keyring) => {
    await expect(run('verify', at(bundle), '--keyring', at(keyring))).rejects.toMatchObject({ code: 'bundle_refused' });
  });

  test('refuses a changed bundle by the name of the entry', async () => {
    const text = readFileSync(at('signed'), 'utf8').replace('allergic', 'immune  ');
    writeFileSync(at('changed'), text);
    await expect(run('verify', at('changed'))).rejects.toMatchObject({
      code: 'bundle_refused',
      message: expect.stringContaining(entry.id),
    });
  });

  test('refuses a receipt in the bundle that is none', async () => {
    writeFileSync(at('forged'), await bundleOf(sourceOf([{ entry }], ['{"receipt":"countersign/v1"}\n'])));
    await expect(run('verify', at('forged'), '--keyring', at('keyring'))).rejects.toThrow('The receipt');
    expect(await run('verify', at('forged'))).toContain('not checked: 1 receipts (there is no keyring)');
  });
});

test('countersign memory diff names what changed', async () => {
  expect(await run('diff', at('unsigned'), at('corrected'))).toBe(`changed ${entry.id}\n1 changed\n`);
  expect(await run('diff', at('unsigned'), at('signed'))).toBe('no difference\n');
  expect(JSON.parse(await run('diff', at('unsigned'), at('corrected'), '--json'))).toMatchObject({
    same: false,
    differences: [{ id: entry.id, change: 'changed' }],
  });
});
