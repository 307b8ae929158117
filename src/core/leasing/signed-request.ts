import { CodedError } from '../../ground/errors/coded-error.ts';
import { publicKeyFromBase64, verifyBytes, workerIdOf, type PublicKey } from '../../ground/keys/signing-key.ts';
import { SIGNED_HEADERS, requestBytes } from '../remote/request-signature.ts';

/** Who asks, as the signature of the request shows it; whether the session is theirs, the sessions say. */
export interface Caller {
  readonly worker: string;
  readonly key: PublicKey;
  readonly session: string;
  readonly number: number;
  /** The digest that the body must have. */
  readonly bodySha256: string;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

const FORMS = {
  key: /^[A-Za-z0-9+/]{43}=$/,
  session: /^[0-9a-f]{32}$/,
  number: /^[1-9]\d{0,14}$/,
  body: /^[0-9a-f]{64}$/,
  signature: /^[A-Za-z0-9+/]{86}==$/,
} as const satisfies Record<keyof typeof SIGNED_HEADERS, RegExp>;

/**
 * The caller of a signed request. Nothing but the headers is looked at: no byte of a body is read for whoever
 * cannot sign. Throws CodedError `signature_invalid`.
 */
export function callerOf(method: string, target: string, headers: Headers): Caller {
  const read = (name: keyof typeof SIGNED_HEADERS): string => {
    const value = headers[SIGNED_HEADERS[name]];
    if (typeof value === 'string' && FORMS[name].test(value)) return value;
    throw new CodedError('signature_invalid', `The header ${SIGNED_HEADERS[name]} is missing or malformed.`);
  };
  const [session, number, bodySha256] = [read('session'), Number(read('number')), read('body')];
  const signature = Buffer.from(read('signature'), 'base64');
  const key = publicKeyOf(read('key'));
  if (!verifyBytes(key, requestBytes({ method, target, session, number, bodySha256 }), signature))
    throw new CodedError('signature_invalid', 'The signature is not one of this request by the key that is named.');
  return { worker: workerIdOf(key), key, session, number, bodySha256 };
}

/** A public key that a request names. Throws CodedError `signature_invalid` where it is none. */
export function publicKeyOf(text: string): PublicKey {
  try {
    return publicKeyFromBase64(text);
  } catch (cause) {
    throw new CodedError('signature_invalid', 'The key that is named is not an Ed25519 public key.', { cause });
  }
}
