import { HASH_BYTES } from './merkle.ts';
import { LogRefused, parseNote, strictBase64, verifyNote, type NoteKey, type SignedNote } from './signed-note.ts';

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

/** The checkpoint in a note, once the signature of its log verifies. Throws LogRefused. */
export function openCheckpoint(note: string, log: NoteKey): { checkpoint: Checkpoint; note: SignedNote } {
  const signed = parseNote(note);
  const checkpoint = parseCheckpoint(signed.text);
  if (checkpoint.origin !== log.name) throw new LogRefused(`The checkpoint is of the log ${checkpoint.origin}.`);
  if (verifyNote(signed, log) === undefined) throw new LogRefused('The signature of the log does not verify.');
  return { checkpoint, note: signed };
}
