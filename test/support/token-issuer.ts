import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { SignJWT, exportJWK, generateKeyPair, type CryptoKey, type JWK } from 'jose';

/** How a played issuer shows its keys. */
type Manner = 'keys' | 'away' | 'silent' | 'redirect' | 'huge' | 'malformed';

/** An issuer of access tokens on loopback: metadata, key set, and tokens for clients with a secret. */
export class TokenIssuer implements AsyncDisposable {
  manner: Manner = 'keys';
  /** How often the keys were asked for. */
  asked = 0;
  /** The key that the key set shows, under `kid`. */
  readonly kid = 'first';
  readonly public: JWK;
  readonly #private: CryptoKey;
  readonly #server: Server;

  private constructor(server: Server, publicKey: JWK, privateKey: CryptoKey) {
    this.#server = server;
    this.public = publicKey;
    this.#private = privateKey;
  }

  static async start(): Promise<TokenIssuer> {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
    const server = createServer();
    const issuer = new TokenIssuer(server, await exportJWK(publicKey), privateKey);
    server.on('request', (request, response) => void issuer.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return issuer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The operator's terms for this issuer. */
  terms(resource: string, callers: readonly object[]) {
    return { version: 1, issuer: this.url, keys: `${this.url}/jwks`, resource, callers };
  }

  /** A token with these claims, which is valid for five minutes where they do not say otherwise. */
  token(
    claims: Record<string, unknown>,
    { kid = this.kid, key = this.#private }: { kid?: string; key?: CryptoKey } = {},
  ) {
    const now = Math.floor(Date.now() / 1_000);
    const given: [string, unknown][] = Object.entries({ iss: this.url, iat: now, exp: now + 300, ...claims });
    const stated = Object.fromEntries(given.filter(([, value]) => value !== undefined));
    return new SignJWT(stated).setProtectedHeader({ alg: 'RS256', kid, typ: 'at+jwt' }).sign(key);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', this.url);
    const json = (body: object, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (pathname === '/jwks') this.#showKeys(response);
    else if (pathname === '/.well-known/oauth-authorization-server')
      json({
        issuer: this.url,
        authorization_endpoint: `${this.url}/authorize`,
        token_endpoint: `${this.url}/token`,
        response_types_supported: ['code'],
        grant_types_supported: ['client_credentials'],
        token_endpoint_auth_methods_supported: ['client_secret_basic'],
      });
    else if (pathname === '/token') {
      const wanted = new URLSearchParams(await text(request));
      const login = Buffer.from((request.headers.authorization ?? '').replace('Basic ', ''), 'base64').toString();
      const [client_id = '', secret] = login.split(':');
      const aud = wanted.get('resource');
      if (secret !== 'a secret' || aud === null) json({ error: 'invalid_client' }, 401);
      else
        json({
          access_token: await this.token({ sub: client_id, client_id, aud }),
          token_type: 'Bearer',
          expires_in: 300,
        });
    } else json({}, 404);
  }

  #showKeys(response: ServerResponse): void {
    this.asked += 1;
    const set = { keys: [{ ...this.public, kid: this.kid, use: 'sig', alg: 'RS256' }] };
    const says = {
      keys: () => response.end(JSON.stringify(set)),
      away: () => response.destroy(),
      silent: () => undefined,
      redirect: () => response.writeHead(302, { location: '/jwks?elsewhere' }).end(),
      huge: () => response.end(JSON.stringify({ ...set, more: 'x'.repeat(1_000_000) })),
      malformed: () => response.end('{"keys": 7}'),
    } as const satisfies Record<Manner, () => unknown>;
    says[this.manner]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
