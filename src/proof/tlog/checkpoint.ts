import { HASH_BYTES } from './merkle.ts';
import { LogRefused, isBy, parseNote, strictBase64, verifyNote, type NoteKey, type SignedNote } from './signed-note.ts';

/** A checkpoint (C2SP tlog-checkpoint): which log, how many entries, and the root of their tree. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

/** The text of a checkpoint, which its log signs. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString('base64')}\n`;
}

/** The checkpoint in the text of a note; no signature is verified. Throws LogRefused. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', encoded = ''] = text.split('\n');
  const root = strictBase64(encoded);
  if (origin === '' || !/^(0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(Number(size)))
    throw new LogRefused('The checkpoint names no origin or no size.');
  if (root?.length !== HASH_BYTES) throw new LogRefused('The checkpoint has no root hash.');
  return { origin, size: Number(size), root };
}

/**
 * The checkpoint in a note, once the signature of its log verifies by one of the keys given, and none in the
 * name of one of them fails; a log whose key was rotated has several of one name. Throws LogRefused.
 */
export function openCheckpoint(
  note: string,
  ...keys: readonly NoteKey[]
): { checkpoint: Checkpoint; note: SignedNote } {
  const signed = parseNote(note);
  const checkpoint = parseCheckpoint(signed.text);
  const own = keys.filter(({ name }) => name === checkpoint.origin);
  if (own.length === 0) throw new LogRefused(`The checkpoint is of the log ${checkpoint.origin}.`);
  const named = own.filter((key) => signed.signatures.some((signature) => isBy(signature, key)));
  if (named.length === 0 || named.some((key) => verifyNote(signed, key) === undefined))
    throw new LogRefused('The signature of the log does not verify.');
  return { checkpoint, note: signed };
}
