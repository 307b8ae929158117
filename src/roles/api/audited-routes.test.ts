import { expect, test } from '@jest/globals';
import { AUDITED_ROUTES, SEEN_BY_PEOPLE } from './audited-routes.ts';
import { OPERATIONS } from './operations.ts';

/** Powers over what is not the caller's own doing, and what takes something away. */
const isPower = ({ method, scope }: (typeof OPERATIONS)[number]) =>
  (method !== 'get' && (scope === 'operator' || scope === 'tenant_admin')) || method === 'delete';

test('every route by which power is used stands in the table of audited routes, and every route there exists', () => {
  const names = OPERATIONS.map(({ method, path }) => `${method} ${path}`);
  const powers = OPERATIONS.filter(isPower).map(({ method, path }) => `${method} ${path}`);
  expect(Object.keys(AUDITED_ROUTES)).toEqual(expect.arrayContaining(powers));
  expect(names).toEqual(expect.arrayContaining([...Object.keys(AUDITED_ROUTES), ...Object.keys(SEEN_BY_PEOPLE)]));
  const secrets = names.filter((name) => name.endsWith('/secret'));
  expect(secrets.length).toBeGreaterThan(1);
  expect(Object.keys(AUDITED_ROUTES)).toEqual(expect.arrayContaining(secrets));
});
