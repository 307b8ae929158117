import { MAX_RECEIPT_BYTES } from '../../../proof/receipts/receipt.ts';
import type { Kind } from '../recognise.ts';

/** A file that was given to the page, or a text that was pasted. */
export interface Given {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What the page holds at the moment, one of each kind. Nothing of it leaves the page or outlives it. */
export class Holdings {
  readonly #all = new Map<Kind, Given>();

  get(kind: Kind): Given | undefined {
    return this.#all.get(kind);
  }

  bytesOf(kind: Kind): Uint8Array | undefined {
    return this.#all.get(kind)?.bytes;
  }

  put(kind: Kind, given: Given | undefined): void {
    if (given === undefined) this.#all.delete(kind);
    else this.#all.set(kind, given);
  }
}

/** The name under which the fragment of an address carries a receipt. */
const MEMBER = 'receipt=';

/** The address of this page with a receipt in its fragment, which browsers send to nobody. */
export function linkTo(page: string, receipt: Uint8Array): string {
  return `${page.replace(/#.*$/s, '')}#${MEMBER}${inAddress(Buffer.from(receipt).toString('base64'))}`;
}

/** The receipt in a fragment; undefined where there is none, or more than a receipt can have. */
export function receiptIn(fragment: string): Given | undefined {
  const text = fragment.replace(/^#/, '');
  if (!text.startsWith(MEMBER) || text.length > MEMBER.length + MAX_RECEIPT_BYTES * 2) return undefined;
  return { name: 'from the link', bytes: Buffer.from(text.slice(MEMBER.length), 'base64') };
}

/** Base64 in the letters of an address; it is read in either spelling. */
const inAddress = (base64: string): string => base64.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
