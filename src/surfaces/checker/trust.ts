import type { Keyring } from '../../proof/receipts/keyring.ts';

/** Where the keyring comes from, and how far it is to be trusted. */
export interface Trust {
  readonly from: 'given' | 'data folder' | 'first use';
  /** The same in one sentence. */
  readonly sentence: string;
}

/** A keyring, and how far it is to be trusted. */
export interface Trusted extends Trust {
  readonly keyring: Keyring;
}

/** A keyring that its holder gave; `name` is that of its file. */
export const trustInGiven = (name: string): Trust => ({
  from: 'given',
  sentence: `the keyring that you gave, ${name}: as far as you trust the way by which you got it`,
});

/** A keyring that came from the service whose receipts it is to verify; `from` is its address. */
export const trustOnFirstUse = (from: string): Trust => ({
  from: 'first use',
  sentence: `the keyring that ${from} served just now, on first use: whoever answers there could have made receipt and keyring alike. Keep it, compare it with another way, and give it with --keyring`,
});
