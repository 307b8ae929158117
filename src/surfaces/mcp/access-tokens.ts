import type { JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import { holderOf, metadataUrl, type TokenHolder, type TokenTerms } from './token-terms.ts';

/** Each verifies with a public key alone: whoever knows the key set can sign nothing. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
/** By how much the clocks of issuer and service may differ. */
const SKEW_S = 30;
/** How long keys are believed that the issuer has shown. */
const KEYS_LIFE_MS = 600_000;
/** A token with an unknown key makes the keys be fetched again, and not sooner than this. */
const KEYS_PAUSE_MS = 30_000;
/** An issuer that did not answer is not asked again for so long. */
const FAILURE_PAUSE_MS = 2_000;
const FETCH_MS = 5_000;
const MAX_KEYS_BYTES = 262_144;

const KeySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })) });

/** The keys could not be had: nothing is known of the token. */
class KeysAway extends Error {
  override readonly name = 'KeysAway';
}

/** Verifies access tokens (JWT) of the one issuer that the operator has named. */
export class AccessTokens {
  readonly #terms: TokenTerms;
  #keys: Promise<JWTVerifyGetKey> | undefined;
  #failedAt = -Infinity;

  constructor(terms: TokenTerms) {
    this.#terms = terms;
  }

  /** What a refusal says of how to get a token (RFC 6750 and 9728). */
  challenge(error?: 'invalid_token'): Record<string, string> {
    const said = error === undefined ? '' : `error="${error}", `;
    return { 'www-authenticate': `Bearer realm="countersign", ${said}resource_metadata="${metadataUrl(this.#terms)}"` };
  }

  /**
   * For whom a token acts. Throws CodedErrors `unauthenticated` where it is not valid, `token_refused` where
   * it acts for nobody, and `issuer_away` where that cannot be known now.
   */
  async verify(token: string): Promise<TokenHolder> {
    const { jwtVerify, errors } = await import('jose');
    this.#keys ??= this.#remoteKeys();
    try {
      const { payload } = await jwtVerify(token, await this.#keys, {
        issuer: this.#terms.issuer,
        audience: this.#terms.resource,
        algorithms: ALGORITHMS,
        clockTolerance: SKEW_S,
        requiredClaims: ['exp'],
      });
      return holderOf(this.#terms, payload);
    } catch (cause) {
      if (cause instanceof CodedError) throw cause;
      if (cause instanceof KeysAway)
        throw new CodedError(
          'issuer_away',
          'The issuer of access tokens does not show its keys at the moment; try again, or send an API key.',
          { cause, headers: { 'retry-after': String(FAILURE_PAUSE_MS / 1_000) } },
        );
      const why =
        cause instanceof errors.JWTExpired
          ? 'it has expired'
          : cause instanceof errors.JWTClaimValidationFailed
            ? `its claim ${cause.claim} is not as it must be here`
            : 'it is not signed by a key of the issuer';
      const headers = this.challenge('invalid_token');
      throw new CodedError('unauthenticated', `This access token is not valid: ${why}.`, { cause, headers });
    }
  }

  async #remoteKeys(): Promise<JWTVerifyGetKey> {
    const { createRemoteJWKSet, customFetch } = await import('jose');
    return createRemoteJWKSet(new URL(this.#terms.keys), {
      timeoutDuration: FETCH_MS,
      cooldownDuration: KEYS_PAUSE_MS,
      cacheMaxAge: KEYS_LIFE_MS,
      [customFetch]: (url: string, asked: RequestInit) => this.#fetchKeys(url, asked),
    });
  }

  /** The key set, within bounds, and not from an address that the issuer's answer names. */
  async #fetchKeys(url: string, asked: RequestInit): Promise<Response> {
    if (performance.now() - this.#failedAt < FAILURE_PAUSE_MS) throw new KeysAway('it did not answer a moment ago');
    try {
      const response = await fetch(url, { ...asked, redirect: 'error' });
      if (response.status !== 200) throw new Error(`it answered ${response.status}`);
      const body = await readBounded(response, MAX_KEYS_BYTES);
      if (body === undefined) throw new Error(`its keys are more than ${MAX_KEYS_BYTES} bytes`);
      return Response.json(KeySet.parse(JSON.parse(body.toString('utf8'))));
    } catch (cause) {
      this.#failedAt = performance.now();
      throw new KeysAway('the key set could not be fetched', { cause });
    }
  }
}
