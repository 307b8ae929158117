import { HASH_BYTES } from './merkle.ts';
import { LogRefused, strictBase64 } from './signed-note.ts';

/** The proof that an entry is in a log, for an offline verifier (C2SP tlog-proof@v1). */
export interface TlogProof {
  readonly index: number;
  readonly hashes: readonly Buffer[];
  /** The signed checkpoint, with its cosignatures. */
  readonly checkpoint: string;
}

const HEADER = 'c2sp.org/tlog-proof@v1';
/** No honest proof comes near this size. */
export const MAX_PROOF_BYTES = 65_536;
/** A tree of 2^53 leaves is no deeper. */
const MAX_HASHES = 53;

/** The proof as text. */
export function formatProof({ index, hashes, checkpoint }: TlogProof): string {
  return `${HEADER}\nindex ${index}\n${hashes.map((hash) => `${hash.toString('base64')}\n`).join('')}\n${checkpoint}`;
}

/** The proof in a text; nothing is verified. Throws LogRefused. */
export function parseProof(text: string): TlogProof {
  if (Buffer.byteLength(text) > MAX_PROOF_BYTES) throw new LogRefused('The proof is too long.');
  const split = text.indexOf('\n\n');
  if (split < 0) throw new LogRefused('The proof has no checkpoint.');
  const [header, ...lines] = text.slice(0, split).split('\n');
  if (header !== HEADER) throw new LogRefused(`A proof begins with "${HEADER}".`);
  // A line of extra data is for applications. Ours has no use for it, but its base64 must be canonical.
  const extra = lines[0]?.startsWith('extra ') === true ? lines.shift() : undefined;
  if (extra !== undefined && strictBase64(extra.slice('extra '.length)) === undefined)
    throw new LogRefused('The extra data of the proof is not base64.');
  const [, index] = /^index (0|[1-9]\d{0,15})$/.exec(lines.shift() ?? '') ?? [];
  if (index === undefined || !Number.isSafeInteger(Number(index))) throw new LogRefused('The proof names no index.');
  if (lines.length > MAX_HASHES) throw new LogRefused('The proof has too many hashes.');
  const hashes = lines.map((line) => {
    const hash = strictBase64(line);
    if (hash?.length !== HASH_BYTES) throw new LogRefused('A hash of the proof is malformed.');
    return hash;
  });
  const checkpoint = text.slice(split + 2);
  if (checkpoint === '') throw new LogRefused('The proof has no checkpoint.');
  return { index: Number(index), hashes, checkpoint };
}
