import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { SCOPES } from './api-key.ts';
import { grantable, requireWithin, type KeyPowers } from './key-grant.ts';
import { Limits } from './limits.ts';

const UNITS = Limits.keyof().options;
const limits: fc.Arbitrary<Limits> = fc.record(
  Object.fromEntries(UNITS.map((unit) => [unit, fc.integer({ min: 1, max: 9 })])),
  { requiredKeys: [] },
);
const powers: fc.Arbitrary<KeyPowers> = fc.record({
  scopes: fc.subarray([...SCOPES]),
  limits,
  expiresAt: fc.option(
    fc.integer({ min: 1, max: 9 }).map((day) => `2030-01-0${day}T00:00:00.000Z`),
    { nil: undefined },
  ),
});
const granter = fc.record({ own: powers, tenant: limits }).map(({ own, tenant }) => ({
  scopes: new Set(own.scopes),
  limits: { tenant, key: own.limits },
  expiresAt: own.expiresAt,
}));

/** How much a key may use: what is not limited is more than any number. */
const most = (value: number | undefined) => value ?? Infinity;

test('what is granted is never above what the granter has, by scope, limit or end, and what was asked is kept', () => {
  fc.assert(
    fc.property(granter, powers, (from, wanted) => {
      let granted: KeyPowers;
      try {
        granted = grantable(from, wanted);
      } catch (error) {
        expect(error).toBeInstanceOf(CodedError);
        return;
      }
      expect(granted.scopes.every((scope) => from.scopes.has(scope))).toBe(true);
      for (const unit of UNITS) {
        expect(most(granted.limits[unit])).toBeLessThanOrEqual(most(from.limits.key[unit]));
        if (wanted.limits[unit] !== undefined) expect(granted.limits[unit]).toBe(wanted.limits[unit]);
        if (granted.limits[unit] !== undefined && wanted.limits[unit] !== undefined)
          expect(granted.limits[unit]).toBeLessThanOrEqual(most(from.limits.tenant[unit]));
      }
      expect((granted.expiresAt ?? '~') <= (from.expiresAt ?? '~')).toBe(true);
    }),
  );
});

test('whoever asks for nothing above its own is not refused', () => {
  fc.assert(
    fc.property(granter, (from) => {
      const own = { scopes: [...from.scopes], limits: {}, expiresAt: undefined };
      const isAboveTenant = UNITS.some(
        (unit) => most(from.limits.key[unit]) > most(from.limits.tenant[unit]) && from.limits.key[unit] !== undefined,
      );
      if (isAboveTenant) return;
      expect(grantable(from, own)).toEqual({ scopes: own.scopes, limits: from.limits.key, expiresAt: from.expiresAt });
    }),
  );
});

test('nothing outlives its granter by an end that only sorts before the granter’s', () => {
  const from = { scopes: new Set(SCOPES), limits: { tenant: {}, key: {} }, expiresAt: '2030-01-01T00:00:00.000Z' };
  const wanted = { scopes: ['read'] as const, limits: {}, expiresAt: '+010000-01-01T00:00:00.000Z' };
  expect(() => requireWithin(from, wanted)).toThrow(/outlive/);
});

test('a key that can do more is not handed out anew: a limit that it lacks counts as looser', () => {
  const from = {
    scopes: new Set(['tenant_admin'] as const),
    limits: { tenant: {}, key: { spend: 5 } },
    expiresAt: undefined,
  };
  const within = { scopes: ['tenant_admin'] as const, limits: { spend: 5 }, expiresAt: undefined };
  expect(() => requireWithin(from, within)).not.toThrow();
  for (const above of [
    { ...within, limits: {} },
    { ...within, limits: { spend: 6 } },
    { ...within, scopes: ['tenant_admin', 'read_all'] as const },
  ])
    expect(() => requireWithin(from, above)).toThrow(CodedError);
  expect(() => requireWithin({ ...from, expiresAt: '2030-01-01T00:00:00.000Z' }, within)).toThrow(/outlive/);
});
