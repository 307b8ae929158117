import { createHash } from 'node:crypto';
import { publicKeyFromRaw, verifyBytes, type PublicKey, type SigningKey } from '../../ground/keys/signing-key.ts';

/**
 * Signed notes (C2SP signed-note): a text that ends in a line feed, an empty line, and a line for each
 * signature: an em dash, the signer's name, and base64 of a 4-byte key id and the signature.
 */

/**
 * What a key signs: notes themselves, or cosignatures of a witness with their time (C2SP tlog-cosignature).
 */
export type NoteAlgorithm = 'ed25519' | 'cosignature/v1';

const TYPES: Record<NoteAlgorithm, number> = { ed25519: 0x01, 'cosignature/v1': 0x04 };
/** An Ed25519 key after the byte of its kind. */
const VKEY_BYTES = 33;

/** No honest note comes near this size; a longer one is refused before it is split. */
export const MAX_NOTE_BYTES = 65_536;
const MAX_SIGNATURES = 100;

/** A name and a key, as a vkey line says them. */
export interface NoteKey {
  readonly name: string;
  readonly algorithm: NoteAlgorithm;
  /** Four bytes that distinguish the keys of one name. They prove nothing. */
  readonly id: Buffer;
  readonly key: PublicKey;
}

export interface NoteSignature {
  readonly name: string;
  readonly id: Buffer;
  readonly bytes: Buffer;
}

export interface SignedNote {
  /** The signed text, with the line feed at its end. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** Why a note, a checkpoint, a proof or a policy was refused. */
export class LogRefused extends Error {
  override readonly name = 'LogRefused';
}

const isName = (name: string) => /^[^\s+\p{C}]+$/u.test(name);

/** The key with its id. Throws LogRefused for a name with a space or a plus. */
export function noteKey(name: string, algorithm: NoteAlgorithm, key: PublicKey): NoteKey {
  if (!isName(name)) throw new LogRefused(`"${name}" is not a name for a key: it may hold no space and no plus.`);
  const id = createHash('sha256')
    .update(`${name}\n`)
    .update(Buffer.of(TYPES[algorithm]))
    .update(key.bytes)
    .digest()
    .subarray(0, 4);
  return { name, algorithm, id, key };
}

/** A verifier key, `name+id+key`, as it stands in policies. */
export function formatVkey({ name, algorithm, id, key }: NoteKey): string {
  return `${name}+${id.toString('hex')}+${Buffer.concat([Buffer.of(TYPES[algorithm]), key.bytes]).toString('base64')}`;
}

/**
 * The key of a verifier key; undefined for one of a kind that is not known here, as those of ML-DSA. Throws
 * LogRefused for what is no verifier key, and CodedError `key_file_unfit` where the point check fails.
 */
export function readVkey(text: string): NoteKey | undefined {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
  if (name === undefined || id === undefined || encoded === undefined)
    throw new LogRefused(`"${text.slice(0, 80)}" is not a verifier key.`);
  const bytes = strictBase64(encoded);
  if (bytes === undefined || !isName(name)) throw new LogRefused(`"${text.slice(0, 80)}" is not a verifier key.`);
  const algorithm = (Object.keys(TYPES) as NoteAlgorithm[]).find((candidate) => TYPES[candidate] === bytes[0]);
  if (algorithm === undefined) return undefined;
  if (bytes.length !== VKEY_BYTES) throw new LogRefused(`The key of ${name} has another length than its kind.`);
  const key = noteKey(name, algorithm, publicKeyFromRaw(bytes.subarray(1)));
  if (key.id.toString('hex') !== id) throw new LogRefused(`The key of ${name} does not fit its id.`);
  return key;
}

/** As `readVkey`, where the key must be of a kind that is known here. Throws LogRefused for another too. */
export function parseVkey(text: string): NoteKey {
  const key = readVkey(text);
  if (key === undefined) throw new LogRefused(`The key "${text.slice(0, 80)}" is of a kind not known here.`);
  return key;
}

/** The text and the signatures of a note; none is verified. Throws LogRefused. */
export function parseNote(note: string): SignedNote {
  if (Buffer.byteLength(note) > MAX_NOTE_BYTES) throw new LogRefused('The note is too long.');
  if (/[\u0000-\u0009\u000b-\u001f\ufffd]/.test(note))
    throw new LogRefused('The note holds characters that no note may.');
  const split = note.lastIndexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) throw new LogRefused('The note has no signatures.');
  const lines = note.slice(split + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw new LogRefused('The note has too many signatures.');
  const signatures = lines.map((line): NoteSignature => {
    const [, name, encoded] = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line) ?? [];
    const bytes = encoded === undefined ? undefined : strictBase64(encoded);
    if (name === undefined || !isName(name) || bytes === undefined || bytes.length < 5)
      throw new LogRefused('A signature line of the note is malformed.');
    return { name, id: bytes.subarray(0, 4), bytes: bytes.subarray(4) };
  });
  return { text: note.slice(0, split + 1), signatures };
}

/** The line of a signature. */
export function formatSignature({ name, id, bytes }: NoteSignature): string {
  return `\u2014 ${name} ${Buffer.concat([id, bytes]).toString('base64')}\n`;
}

/** The signatures by the bytes of their lines, each once. */
export function inOrder(signatures: readonly NoteSignature[]): NoteSignature[] {
  const lines = new Map(signatures.map((signature) => [formatSignature(signature), signature]));
  return [...lines]
    .toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([, signature]) => signature);
}

/** The note as text. */
export function formatNote({ text, signatures }: SignedNote): string {
  return `${text}\n${signatures.map(formatSignature).join('')}`;
}

/** The signature of a log's key on a note's text. */
export function signNote(text: string, name: string, key: SigningKey): NoteSignature {
  return { name, id: noteKey(name, 'ed25519', key.public).id, bytes: key.sign(Buffer.from(text)) };
}

/** A witness's cosignature: eight bytes of seconds since 1970, and a signature over the time and the text. */
export function cosignNote(text: string, name: string, key: SigningKey, atSeconds: number): NoteSignature {
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(atSeconds));
  const signature = key.sign(cosignedBytes(text, atSeconds));
  return { name, id: noteKey(name, 'cosignature/v1', key.public).id, bytes: Buffer.concat([time, signature]) };
}

function cosignedBytes(text: string, atSeconds: number): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${atSeconds}\n${text}`);
}

/**
 * The time of this key's signature on a note (undefined for a log's; the earliest where it signed more than
 * once), or undefined where it has not signed, or one of the lines in its name does not verify (C2SP
 * signed-note: such a note is malformed).
 */
export function verifyNote(note: SignedNote, key: NoteKey): { readonly atSeconds: number | undefined } | undefined {
  const found = note.signatures
    .filter((signature) => isBy(signature, key))
    .map((signature) => verifySignature(note.text, signature, key));
  const verified = found.filter((one) => one !== undefined);
  if (verified.length < found.length) return undefined;
  return verified.toSorted((a, b) => (a.atSeconds ?? 0) - (b.atSeconds ?? 0))[0];
}

/** Whether a line names this key. It proves nothing. */
export function isBy({ name, id }: NoteSignature, key: NoteKey): boolean {
  return name === key.name && id.equals(key.id);
}

/** The time of a signature on a text (undefined for a log's); undefined where it is none by this key. */
export function verifySignature(
  text: string,
  signature: NoteSignature,
  key: NoteKey,
): { readonly atSeconds: number | undefined } | undefined {
  const { bytes } = signature;
  if (!isBy(signature, key)) return undefined;
  if (key.algorithm === 'ed25519')
    return verifyBytes(key.key, Buffer.from(text), bytes) ? { atSeconds: undefined } : undefined;
  if (bytes.length !== 72) return undefined;
  const atSeconds = Number(bytes.readBigUInt64BE(0));
  if (!Number.isSafeInteger(atSeconds)) return undefined;
  return verifyBytes(key.key, cosignedBytes(text, atSeconds), bytes.subarray(8)) ? { atSeconds } : undefined;
}

/** The bytes of canonical base64; undefined for any other spelling. */
export function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
