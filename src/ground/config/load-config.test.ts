import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { integer } from './fields.ts';
import { loadConfig } from './load-config.ts';

const Config = z.object({
  COUNTERSIGN_LEASE_MS: integer(1_000, 60_000).default(30_000),
  COUNTERSIGN_POOL: z.string().min(1),
});
const load = (env: NodeJS.ProcessEnv) => loadConfig(Config, { COUNTERSIGN_POOL: 'default', ...env });

describe('a configuration', () => {
  test('comes from the environment, with defaults for what is absent or empty', () => {
    expect(load({ COUNTERSIGN_LEASE_MS: '' })).toEqual({ COUNTERSIGN_LEASE_MS: 30_000, COUNTERSIGN_POOL: 'default' });
    expect(load({ COUNTERSIGN_LEASE_MS: '5000' }).COUNTERSIGN_LEASE_MS).toBe(5_000);
  });

  test('with a misspelt name is refused, and the name that was meant is named', () => {
    expect(() => load({ COUNTERSIGN_LEASE_MSS: '5000' })).toThrow('did you mean COUNTERSIGN_LEASE_MS?');
    expect(() => load({ COUNTERSIGN_LAESE_MS: '5000' })).toThrow('did you mean COUNTERSIGN_LEASE_MS?');
  });

  test('with a name that resembles none is refused without a guess', () => {
    expect(() => load({ COUNTERSIGN_SOMETHING_ELSE: '1' })).toThrow(/not a variable of this role$/);
  });

  test('names all mistakes at once', () => {
    const wrong = { COUNTERSIGN_LEASE_MS: 'soon', COUNTERSIGN_POOL: undefined, COUNTERSIGN_POOLS: 'x' };
    expect(() => load(wrong)).toThrow(/COUNTERSIGN_POOLS.*; COUNTERSIGN_LEASE_MS.*; COUNTERSIGN_POOL: /);
  });

  test('is refused in a process that was given the key of another role', () => {
    expect(() => load({ COUNTERSIGN_ATTESTOR_KEY_FILE: '/key' })).toThrow("another role's key");
    expect(() => load({ COUNTERSIGN_TLOG_KEY_FILE: '/key' })).toThrow("another role's key");
  });

  test('takes no notice of variables of other programs', () => {
    expect(load({ PATH: '/bin', LEASE_MS: 'soon' }).COUNTERSIGN_LEASE_MS).toBe(30_000);
  });
});
