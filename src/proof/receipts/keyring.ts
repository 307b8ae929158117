import { z } from 'zod';
import { parsePolicy, type TlogPolicy } from '../tlog/tlog-policy.ts';
import { KEY_ROLES, publicKeyFromBase64, type KeyRole, type PublicKey } from '../../ground/keys/signing-key.ts';

/**
 * What a verifier trusts: public keys with their roles and times, and logs with their witnesses (a C2SP
 * tlog-policy). It is the root of trust of `countersign verify`.
 */
export const KeyringFile = z.strictObject({
  version: z.literal(1),
  keys: z
    .array(
      z.strictObject({
        id: z.string().regex(/^[0-9a-f]{64}$/),
        role: z.enum(KEY_ROLES),
        publicKey: z.string().max(64),
        notBefore: z.iso.datetime(),
        notAfter: z.iso.datetime().nullable(),
      }),
    )
    .min(1)
    .max(1_000),
  logPolicy: z.string().max(65_536),
});
export type KeyringFile = z.infer<typeof KeyringFile>;

interface TrustedKey {
  readonly role: KeyRole;
  readonly key: PublicKey;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export class Keyring {
  readonly logPolicy: TlogPolicy;
  readonly #file: KeyringFile;
  readonly #keys: ReadonlyMap<string, TrustedKey>;

  /**
   * Throws CodedError `key_file_unfit` for a key that fails the strict check, an Error for an id that is not
   * the key's digest, and LogRefused for a policy that is malformed or names no log.
   */
  constructor(file: KeyringFile) {
    this.#file = file;
    this.logPolicy = parsePolicy(file.logPolicy);
    this.#keys = new Map(
      file.keys.map((entry) => {
        const key = publicKeyFromBase64(entry.publicKey);
        if (key.id !== entry.id) throw new Error(`The key ${entry.id} has the digest ${key.id}.`);
        const notAfterMs = entry.notAfter === null ? Infinity : Date.parse(entry.notAfter);
        return [
          `${entry.role}:${key.id}`,
          { role: entry.role, key, notBeforeMs: Date.parse(entry.notBefore), notAfterMs },
        ];
      }),
    );
  }

  /** The same keys, with another policy for logs. Throws LogRefused. */
  withLogPolicy(text: string): Keyring {
    return new Keyring({ ...this.#file, logPolicy: text });
  }

  /** The key with this id if it is trusted for this role at this time (ms since 1970), else why it is not. */
  find(role: KeyRole, id: string, atMs: number): PublicKey | { refused: string } {
    const trusted = this.#keys.get(`${role}:${id}`);
    if (trusted === undefined) return { refused: `the key ${id.slice(0, 16)}… is not trusted for the role ${role}` };
    // One second of grace, because keys are made on machines whose clocks differ.
    if (atMs < trusted.notBeforeMs - 1_000 || atMs > trusted.notAfterMs)
      return { refused: `the ${role} key was not valid at that time` };
    return trusted.key;
  }

  /** All keys of a role, whatever their times. */
  of(role: KeyRole): PublicKey[] {
    return [...this.#keys.values()].filter((entry) => entry.role === role).map((entry) => entry.key);
  }
}

/** The entry of a key that is valid from `notBefore` (ISO 8601) on. */
export function keyringEntry(role: KeyRole, key: PublicKey, notBefore: string): KeyringFile['keys'][number] {
  return { id: key.id, role, publicKey: key.raw, notBefore, notAfter: null };
}
