import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { generateSigningKeyPem, signingKeyFromPem, workerIdOf } from '../../ground/keys/signing-key.ts';
import { SIGNED_HEADERS, requestBytes } from '../remote/request-signature.ts';
import { callerOf } from './signed-request.ts';

const key = signingKeyFromPem(generateSigningKeyPem());
const other = signingKeyFromPem(generateSigningKeyPem());
const request = {
  method: 'POST',
  target: '/v1/worker/leases?x=1',
  session: '0123456789abcdef0123456789abcdef',
  number: 7,
  bodySha256: sha256Hex('{}'),
};

function headersOf(signer = key, changed: Record<string, string> = {}): Record<string, string> {
  return {
    [SIGNED_HEADERS.key]: key.public.raw,
    [SIGNED_HEADERS.session]: request.session,
    [SIGNED_HEADERS.number]: String(request.number),
    [SIGNED_HEADERS.body]: request.bodySha256,
    [SIGNED_HEADERS.signature]: signer.sign(requestBytes(request)).toString('base64'),
    ...changed,
  };
}

const codeOf = (method: string, target: string, headers: Record<string, string | string[] | undefined>) => {
  try {
    return callerOf(method, target, headers).worker;
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : String(error);
  }
};

describe('callerOf', () => {
  test('names the worker whose key signed the request', () => {
    expect(callerOf(request.method, request.target, headersOf())).toMatchObject({
      worker: workerIdOf(key.public),
      session: request.session,
      number: 7,
      bodySha256: request.bodySha256,
    });
  });

  test('refuses whatever differs from what was signed, in any of its parts', () => {
    const changes: [string, string, Record<string, string>][] = [
      ['PUT', request.target, {}],
      ['POST', '/v1/worker/leases?x=2', {}],
      ['POST', request.target, { [SIGNED_HEADERS.session]: 'f'.repeat(32) }],
      ['POST', request.target, { [SIGNED_HEADERS.number]: '8' }],
      ['POST', request.target, { [SIGNED_HEADERS.body]: sha256Hex('{"a":1}') }],
      ['POST', request.target, { [SIGNED_HEADERS.key]: other.public.raw }],
    ];
    for (const [method, target, headers] of changes)
      expect(codeOf(method, target, headersOf(key, headers))).toBe('signature_invalid');
    expect(codeOf(request.method, request.target, headersOf(other))).toBe('signature_invalid');
  });

  test('answers any headers whatever with one code, and never with an error of ours', () => {
    const names = Object.values(SIGNED_HEADERS);
    const value = fc.oneof(fc.string(), fc.constant(undefined), fc.array(fc.string(), { maxLength: 2 }));
    fc.assert(
      fc.property(fc.constantFrom(...names), value, (name, text) => {
        fc.pre(text !== headersOf()[name]);
        expect(codeOf(request.method, request.target, { ...headersOf(), [name]: text })).toBe('signature_invalid');
      }),
    );
  });

  test('refuses a key of small order, for which anyone can write a signature', () => {
    const weak = Buffer.alloc(32);
    weak[0] = 1;
    const headers = headersOf(key, { [SIGNED_HEADERS.key]: weak.toString('base64') });
    expect(codeOf(request.method, request.target, headers)).toBe('signature_invalid');
  });
});
