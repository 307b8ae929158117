import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { CodedError } from '../errors/coded-error.ts';
import { readSecretFile, readSigningKey } from './key-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'cs-keys-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode });
  return path;
}

function refusal(read: () => unknown): CodedError {
  try {
    read();
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new Error('it was read');
}

describe('a file that holds a secret', () => {
  test('is read where it is one', () => {
    expect(readSecretFile(file('fit', 's\n')).reveal()).toBe('s\n');
  });

  test.each<[string, () => string, RegExp]>([
    ['missing', () => join(folder, 'none'), /does not exist/],
    ['a folder', () => folder, /is not a file/],
    ['a device', () => '/dev/null', /is not a file/],
    ['empty', () => file('empty', ''), /is empty/],
    ['open to others', () => file('open', 's', 0o644), /can be read by other users/],
  ])('is refused with a reason where it is %s', (_, path, reason) => {
    const { code, message } = refusal(() => readSecretFile(path()));
    expect([code, message]).toEqual(['key_file_unfit', expect.stringMatching(reason)]);
  });

  test('says where one comes from, which is another place for each kind', () => {
    expect(refusal(() => readSigningKey(join(folder, 'none'))).hint).toContain('countersign keys new');
    expect(refusal(() => readSecretFile(join(folder, 'none'))).hint).toBeUndefined();
    expect(refusal(() => readSecretFile(join(folder, 'none'), 'ask the operator')).hint).toBe('ask the operator');
  });
});
