import { createHmac, createPublicKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { generateKeyPair } from 'jose';
import { IS_LONG } from '../../../test/support/thorough.ts';
import { TokenIssuer } from '../../../test/support/token-issuer.ts';
import { AccessTokens } from './access-tokens.ts';
import { SCOPES } from '../tenants/api-key.ts';
import { asTokenHolder, readTokenTerms } from './token-terms.ts';

const RESOURCE = 'https://api.example/mcp';
const [AGENTS, PEOPLE] = ['a'.repeat(16), 'b'.repeat(16)];
const CALLERS = [
  { claims: { client_id: 'agent' }, key: AGENTS },
  { claims: { groups: 'people', org: 'acme' }, key: PEOPLE, owner: 'sub' },
];

let issuer: TokenIssuer;
let folder: string;
beforeAll(async () => {
  issuer = await TokenIssuer.start();
  folder = mkdtempSync(join(tmpdir(), 'token-terms-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await issuer[Symbol.asyncDispose]();
});
beforeEach(() => {
  issuer.manner = 'keys';
  issuer.asked = 0;
});

function termsOf(json: unknown) {
  const path = join(folder, 'terms.json');
  writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json));
  return readTokenTerms(path);
}
const tokens = () => new AccessTokens(termsOf(issuer.terms(RESOURCE, CALLERS)));
const valid = { sub: 'ann', client_id: 'agent', aud: RESOURCE };
const now = () => Math.floor(Date.now() / 1_000);

describe('an access token', () => {
  test('acts with the key that the operator has named for its claims', async () => {
    const of = tokens();
    const agent = { keyId: AGENTS, owner: undefined };
    expect(await of.verify(await issuer.token(valid))).toEqual(agent);
    expect(await of.verify(await issuer.token({ ...valid, aud: ['https://other.example', RESOURCE] }))).toEqual(agent);
    expect(await of.verify(await issuer.token({ ...valid, exp: now() - 5, nbf: now() + 20 }))).toEqual(agent);
    const person = { sub: 'ann', groups: ['staff', 'people'], org: 'acme', aud: RESOURCE };
    expect(await of.verify(await issuer.token(person))).toEqual({ keyId: PEOPLE, owner: 'ann' });
    for (const claims of [
      { ...valid, client_id: 'agents' },
      { ...valid, client_id: undefined },
      { ...valid, client_id: { agent: 'agent' } },
      { ...person, org: undefined },
      { ...person, groups: 'people staff' },
      { ...person, sub: undefined },
      { ...person, sub: ' ann' },
      { ...person, sub: ['ann'] },
    ])
      await expect(issuer.token(claims).then((token) => of.verify(token))).rejects.toMatchObject({
        code: 'token_refused',
      });
    expect(issuer.asked).toBe(1);
  });

  test('has no power to manage, whichever key it acts with', () => {
    const caller = {
      ...{ tenant: 'operator', keyId: AGENTS, ownKeys: new Set([AGENTS]), expiresAt: undefined },
      limits: { tenant: {}, key: {} },
    };
    expect(asTokenHolder({ ...caller, scopes: new Set(SCOPES) })).toEqual({
      ...caller,
      scopes: new Set(['submit', 'read', 'read_all']),
    });
    expect(asTokenHolder({ ...caller, scopes: new Set(['read', 'tenant_admin']) }).scopes).toEqual(new Set(['read']));
  });

  test('is refused where anything about it is not as it must be, and the refusal says where tokens come from', async () => {
    const of = tokens();
    const { privateKey } = await generateKeyPair('RS256');
    const [, payload = ''] = (await issuer.token(valid)).split('.');
    const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const pem = createPublicKey({ key: issuer.public, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    const symmetric = `${encoded({ alg: 'HS256', kid: issuer.kid })}.${payload}`;
    const bad: Record<string, string> = {
      'for another resource': await issuer.token({ ...valid, aud: 'https://api.example/other' }),
      'for the service, and not for this address': await issuer.token({ ...valid, aud: 'https://api.example' }),
      'for nobody': await issuer.token({ ...valid, aud: undefined }),
      expired: await issuer.token({ ...valid, exp: now() - 3_600 }),
      'without an end': await issuer.token({ ...valid, exp: undefined }),
      'not valid yet': await issuer.token({ ...valid, nbf: now() + 3_600 }),
      'of another issuer': await issuer.token({ ...valid, iss: 'https://other.example' }),
      'of an issuer that is nearly this one': await issuer.token({ ...valid, iss: `${issuer.url}/` }),
      'signed by another key': await issuer.token(valid, { key: privateKey }),
      'with an unknown key': await issuer.token(valid, { key: privateKey, kid: 'second' }),
      'not signed': `${encoded({ alg: 'none' })}.${payload}.`,
      'not signed, naming a key': `${encoded({ alg: 'none', kid: issuer.kid })}.${payload}.`,
      'signed with the public key': `${symmetric}.${createHmac('sha256', pem).update(symmetric).digest('base64url')}`,
      'no token': 'x',
    };
    for (const [name, token] of Object.entries(bad)) {
      const refused = of.verify(token);
      await expect(refused.then(() => name)).rejects.toMatchObject({
        code: 'unauthenticated',
        headers: {
          'www-authenticate':
            'Bearer realm="countersign", error="invalid_token", resource_metadata="https://api.example/.well-known/oauth-protected-resource/mcp"',
        },
      });
    }
    // Whoever sends unknown keys does not make the service ask for them each time.
    expect(issuer.asked).toBe(1);
  });

  test.each(['away', 'redirect', 'huge', 'malformed', ...(IS_LONG ? ['silent' as const] : [])] as const)(
    'is neither believed nor refused where the keys are %s, and these are not asked for again at once',
    async (manner) => {
      issuer.manner = manner;
      const of = tokens();
      const token = await issuer.token(valid);
      for (let times = 0; times < 5; times += 1)
        await expect(of.verify(token)).rejects.toMatchObject({ code: 'issuer_away', headers: { 'retry-after': '2' } });
      expect(issuer.asked).toBeLessThan(5);
    },
  );
});

describe('the terms of an operator', () => {
  test('are refused with every mistake where they name no issuer and no callers', () => {
    const good = { ...issuer.terms(RESOURCE, CALLERS), issuer: 'https://issuer.example/' };
    expect(termsOf(good).issuer).toBe('https://issuer.example/');
    for (const [change, where] of [
      [{ issuer: 'http://issuer.example' }, 'issuer'],
      [{ issuer: 'https://issuer.example?x' }, 'issuer'],
      [{ keys: 'http://issuer.example/jwks' }, 'keys'],
      [{ resource: 'https://api.example' }, 'resource'],
      [{ resource: 'https://api.example/mcp?x' }, 'resource'],
      [{ resource: 'https://API.example/mcp' }, 'resource'],
      [{ callers: [] }, 'callers'],
      [{ callers: [{ claims: {}, key: AGENTS }] }, 'callers.0.claims'],
      [{ callers: [{ claims: { sub: 'x' }, key: `csk_${AGENTS}` }] }, 'callers.0.key'],
      [{ callers: [{ claims: { sub: 'x' }, key: AGENTS, scope: 'operator' }] }, 'callers.0'],
      [{ version: 2 }, 'version'],
    ] as const)
      expect(() => termsOf({ ...good, ...change })).toThrow(`${where}: `);
    expect(() => termsOf('{')).toThrow(expect.objectContaining({ code: 'config_invalid' }));
  });
});
