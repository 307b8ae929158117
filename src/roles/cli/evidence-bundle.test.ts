import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { documents, keyring, keyringFile, newKey, signed } from '../../../test/support/sample-receipts.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { trustInGiven } from '../../surfaces/checker/trust.ts';
import { checkEvidence, exportEvidence } from './evidence-bundle.ts';

const trusted = { keyring, ...trustInGiven('keyring.json') };
const JOBS = [0, 1, 2, 3].map((number) => {
  const three = documents(number);
  const { job: id, createdAt } = three.ticket.predicate;
  return { three, id, createdAt, receipt: signed(three) };
});
const at = (number: number) => JOBS[number]?.createdAt ?? '';
const PERIOD = { from: at(0), to: at(3) };

/** A service with these jobs, of which the third has no receipt; it breaks down after so many receipts. */
function service(receipts = Infinity) {
  let left = receipts;
  return {
    url: 'https://example.org',
    json: (path: string): Promise<unknown> => {
      const { searchParams } = new URL(path, 'http://x');
      const [after, before] = ['created_after', 'created_before'].map((name) => searchParams.get(name) ?? '');
      const jobs = JOBS.filter(({ createdAt }) => createdAt > (after ?? '') && createdAt < (before ?? ''));
      return Promise.resolve({ jobs, next_cursor: null });
    },
    bytes: (path: string): Promise<Buffer> => {
      if (path === '/log/checkpoint') return Promise.resolve(Buffer.from('a checkpoint\n'));
      if (path.startsWith('/.well-known')) return Promise.resolve(Buffer.from(JSON.stringify(keyringFile())));
      if ((left -= 1) < 0) return Promise.reject(new CodedError('storage_unavailable', 'It is away.'));
      const job = JOBS.find(({ id }) => path.includes(id));
      if (job === undefined || job === JOBS[2]) return Promise.reject(new CodedError('erased', 'It was erased.'));
      return Promise.resolve(job.receipt);
    },
  };
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-evidence-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const exported = (api = service()) => exportEvidence(api, folder, PERIOD, () => undefined);
const checked = () => checkEvidence(folder, trusted, () => undefined);
const receiptPath = (number: number) => join(folder, 'receipts', `${JOBS[number]?.id ?? ''}.receipt`);

test('a bundle holds the receipts of its period, first instant included, and says which are absent', async () => {
  await exported();
  expect(readdirSync(join(folder, 'receipts'))).toHaveLength(2);
  expect(checked()).toEqual({
    sound: true,
    period: PERIOD,
    verified: 2,
    absent: [{ job: JOBS[2]?.id, code: 'erased' }],
    faults: [],
  });
});

test('an export that was interrupted is no bundle, and goes on where it stopped', async () => {
  await expect(exported(service(1))).rejects.toMatchObject({ code: 'storage_unavailable' });
  expect(() => checked()).toThrow(/no manifest/);
  await exported(service(2));
  expect(checked().verified).toBe(2);
  await expect(exported()).rejects.toThrow('holds a bundle already');
});

/** The manifest, changed by somebody who can write into the folder. */
function edit(
  change: (manifest: { from: string; receipts: { job: string; bytes: number; sha256: string }[] }) => void,
): void {
  const path = join(folder, 'manifest.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Parameters<typeof change>[0];
  change(manifest);
  writeFileSync(path, JSON.stringify(manifest));
}

/** Another file in the place of the first receipt, with a manifest that fits. */
function replace(bytes: Buffer): void {
  writeFileSync(receiptPath(0), bytes);
  edit(({ receipts }) => Object.assign(receipts[0] ?? {}, { bytes: bytes.length, sha256: sha256Hex(bytes) }));
}

test.each([
  ['changed', 'a byte of a receipt', () => writeFileSync(receiptPath(0), 'x')],
  ['changed', 'another keyring', () => writeFileSync(join(folder, 'keyring.json'), '{}')],
  ['changed', 'a file that is gone', () => rmSync(receiptPath(0))],
  ['not_named', 'a receipt more', () => writeFileSync(receiptPath(3), JOBS[3]?.receipt ?? '')],
  ['named_twice', 'a job that is named twice', () => edit(({ receipts }) => receipts.push(...receipts.slice(0, 1)))],
  ['other_job', 'the receipt of another job', () => replace(signed(documents(1)))],
  ['other_period', 'a job outside of the period', () => edit((manifest) => (manifest.from = at(1)))],
  ['untrusted_key', 'a forged receipt', () => replace(signed(JOBS[0]?.three ?? documents(0), { attestor: newKey() }))],
  ['malformed', 'what is no receipt', () => replace(Buffer.from('{}'))],
])('finds as %s %s', async (reason, _, change) => {
  await exported();
  change();
  const { sound, faults } = checked();
  expect([sound, [...new Set(faults.map((fault) => fault.reason))]]).toEqual([false, [reason]]);
});
