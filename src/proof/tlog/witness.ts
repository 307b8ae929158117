import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../../ground/blobs/durable-file.ts';
import { systemCodeOf } from '../../ground/errors/coded-error.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { openCheckpoint, parseCheckpoint, type Checkpoint } from './checkpoint.ts';
import { EMPTY_ROOT, HASH_BYTES, verifyConsistency } from './merkle.ts';
import { LogRefused, MAX_NOTE_BYTES, cosignNote, formatSignature, strictBase64, type NoteKey } from './signed-note.ts';

/** An answer of `add-checkpoint` (C2SP tlog-witness). */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly body: string;
}

/** A consistency proof has at most so many hashes (C2SP tlog-witness). */
const MAX_PROOF = 63;

/**
 * A witness. It signs a checkpoint of a log, with the time, only if the log continues the last checkpoint
 * that it signed. A log that shows different trees to different people cannot have both signed. The last
 * signed checkpoint is durable before the witness answers. Any number of callers at once.
 */
export class Witness {
  readonly #name: string;
  readonly #key: SigningKey;
  readonly #logs: readonly NoteKey[];
  readonly #folder: string;
  /**
   * The requests for each log run one after another: of two that continue one checkpoint, only one may be
   * signed.
   */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(parts: { name: string; key: SigningKey; logs: readonly NoteKey[]; folder: string }) {
    this.#name = parts.name;
    this.#key = parts.key;
    this.#logs = parts.logs;
    this.#folder = parts.folder;
  }

  /** Answers the body of an `add-checkpoint` request. */
  async addCheckpoint(body: string): Promise<WitnessAnswer> {
    const request = parseRequest(body);
    if (request === undefined) return { status: 400, body: 'malformed request\n' };
    const log = this.#logs.find(({ name }) => name === request.note.slice(0, request.note.indexOf('\n')));
    if (log === undefined) return { status: 404, body: 'unknown log\n' };
    let opened: ReturnType<typeof openCheckpoint>;
    try {
      opened = openCheckpoint(request.note, ...this.#logs);
    } catch (error) {
      if (!(error instanceof LogRefused)) throw error;
      return { status: 403, body: 'invalid signature\n' };
    }
    const { checkpoint, note } = opened;
    if (request.oldSize > checkpoint.size) return { status: 400, body: 'the old size is larger than the checkpoint\n' };
    const turn = (this.#turns.get(log.name) ?? Promise.resolve()).then(() =>
      this.#cosign(checkpoint, note.text, request),
    );
    this.#turns.set(
      log.name,
      turn.catch(() => undefined),
    );
    return turn;
  }

  async #cosign(checkpoint: Checkpoint, text: string, { oldSize, proof }: Request): Promise<WitnessAnswer> {
    const path = join(this.#folder, `${createHash('sha256').update(checkpoint.origin).digest('hex')}.checkpoint`);
    const last = await readLast(path);
    if (oldSize !== (last?.size ?? 0)) return { status: 409, body: `${last?.size ?? 0}\n` };
    if (checkpoint.size === 0 && !checkpoint.root.equals(EMPTY_ROOT))
      return { status: 422, body: 'an empty tree has another root\n' };
    // Of the same size, only the same root verifies: another one is a fork.
    const goesOn = oldSize === 0 ? proof.length === 0 : last && verifyConsistency(last, checkpoint, proof);
    if (goesOn !== true) return { status: 422, body: 'the consistency proof does not verify\n' };
    if (last?.size !== checkpoint.size) await writeDurably({ path, bytes: text });
    return {
      status: 200,
      body: formatSignature(cosignNote(text, this.#name, this.#key, Math.floor(Date.now() / 1_000))),
    };
  }
}

interface Request {
  readonly oldSize: number;
  readonly proof: readonly Buffer[];
  readonly note: string;
}

function parseRequest(body: string): Request | undefined {
  if (Buffer.byteLength(body) > MAX_NOTE_BYTES) return undefined;
  const split = body.indexOf('\n\n');
  if (split < 0) return undefined;
  const [first = '', ...lines] = body.slice(0, split).split('\n');
  const [, oldSize] = /^old (0|[1-9]\d{0,15})$/.exec(first) ?? [];
  const proof = lines.map(strictBase64);
  if (oldSize === undefined || !Number.isSafeInteger(Number(oldSize)) || proof.length > MAX_PROOF) return undefined;
  if (!proof.every((hash) => hash?.length === HASH_BYTES)) return undefined;
  return { oldSize: Number(oldSize), proof: proof as Buffer[], note: body.slice(split + 2) };
}

/**
 * The checkpoint that was signed last. A damaged file throws: if it counted as none, anything would be
 * signed.
 */
async function readLast(path: string): Promise<Checkpoint | undefined> {
  try {
    return parseCheckpoint(await readFile(path, 'utf8'));
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
