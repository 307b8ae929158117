import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { newSealedSecret, openSecret, resealed } from './webhook-secret.ts';

/** Secrets before the one that signs that may still sign too. */
const MAX_PREVIOUS = 5;

const SealedSecret = z.object({
  /** Its number, from 1. */
  generation: z.number(),
  /** The random bytes of the secret, sealed (`webhook-secret.ts`). */
  sealed: z.string(),
});
export type SealedSecret = z.infer<typeof SealedSecret>;

/** The secrets that sign the messages to an address: the newest, and those before it that still do. */
export const Secrets = SealedSecret.extend({
  /** Those before it that sign too, each until its time: what was handed out holds as long as was said. */
  previous: z.array(SealedSecret.extend({ untilMs: z.number() })).default([]),
});
export type Secrets = z.infer<typeof Secrets>;

/** Whose secrets they are: an endpoint's, or those of the addresses that are given with jobs. */
export interface Address {
  readonly tenant: string;
  readonly endpoint: string;
}

/** The first secret of an address. */
export function firstSecrets(keys: SecretsKeys, address: Address): Secrets {
  return { ...newSecret(keys, address, 1), previous: [] };
}

/**
 * One secret further; the one before it signs too for `overlapMs` from `nowMs`. Throws CodedError
 * `too_many_webhooks` where too many overlap.
 */
export function rotatedSecrets(
  keys: SecretsKeys,
  address: Address,
  { generation, sealed, previous }: Secrets,
  overlapMs: number,
  nowMs: number,
): Secrets {
  const still = previous.filter(({ untilMs }) => untilMs > nowMs);
  if (still.length >= MAX_PREVIOUS)
    throw new CodedError(
      'too_many_webhooks',
      `${MAX_PREVIOUS} earlier secrets are still in force; wait for one to end.`,
    );
  const before = overlapMs > 0 ? [{ generation, sealed, untilMs: nowMs + overlapMs }] : [];
  return { ...newSecret(keys, address, generation + 1), previous: [...still, ...before] };
}

/** The same secrets, each sealed by the key that seals now. Throws CodedError `key_file_unfit`. */
export function resealedSecrets(keys: SecretsKeys, address: Address, secrets: Secrets): Secrets {
  const again = <One extends SealedSecret>(one: One): One => {
    const place = { ...address, generation: one.generation };
    return { ...one, sealed: resealed(keys, place, one.sealed) };
  };
  return { ...again(secrets), previous: secrets.previous.map(again) };
}

/** Whether every one of them is sealed by the key that seals now. */
export function areCurrent(keys: SecretsKeys, { sealed, previous }: Secrets): boolean {
  return [{ sealed }, ...previous].every((one) => keys.isCurrent(one.sealed));
}

/**
 * The value of `webhook-signature` for a message: by the secret in force, and by those before it that sign
 * too. Throws CodedError `key_file_unfit`.
 */
export function signaturesOf(
  keys: SecretsKeys,
  address: Address,
  secrets: Secrets,
  message: { readonly id: string; readonly timestampS: number; readonly body: string },
): string {
  const still = secrets.previous.filter(({ untilMs }) => untilMs > message.timestampS * 1_000);
  return [secrets, ...still]
    .map(({ generation, sealed }) =>
      openSecret(keys, { ...address, generation }, sealed).sign(message.id, message.timestampS, message.body),
    )
    .join(' ');
}

function newSecret(keys: SecretsKeys, address: Address, generation: number): SealedSecret {
  return { generation, sealed: newSealedSecret(keys, { ...address, generation }) };
}
