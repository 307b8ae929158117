import { createHash, randomBytes } from 'node:crypto';
import { CodedError } from '../errors/coded-error.ts';
import type { ListedObject } from './s3-answers.ts';
import { PART_BYTES, type S3Objects } from './s3-objects.ts';
import { BlobMeter } from './blob-meter.ts';
import { BlobStore, isBlobName, ownersPath, requireName, type Stored } from './blob-store.ts';
import { sha256Hex } from './sha256.ts';

/** S3 copies no larger object at once, which is how an upload gets its name. */
const MOST_BYTES = 5 * 1024 ** 3;
/** So many copies of a blob are tried until one has the digest that it should have. */
const MOST_COPIES = 8;

/**
 * Blobs as objects of S3. Each time that a blob is stored it is an object of its own, `<digest>/<random>`:
 * what is removed by its age is never what somebody stores at that moment, which no request of S3 could tell
 * from it otherwise. Readers take the newest that has the right digest.
 */
export class S3Blobs extends BlobStore {
  readonly place: string;
  readonly #objects: S3Objects;

  constructor(objects: S3Objects) {
    super();
    this.place = objects.place;
    this.#objects = objects;
  }

  async put(bytes: Uint8Array): Promise<string> {
    const digest = sha256Hex(bytes);
    await this.#objects.put(newCopy(digest), bytes);
    return digest;
  }

  async get(digest: string, maxBytes: number): Promise<Buffer> {
    requireName(digest);
    const { copies } = await this.#copies(digest);
    const fit = copies.filter(({ bytes }) => bytes <= maxBytes);
    if (fit.length === 0 && copies.length > 0)
      throw new CodedError('blob_missing', `The stored object ${digest} is larger than it may be.`);
    for (const { name } of fit.slice(0, MOST_COPIES)) {
      const bytes = await this.#objects.get(name, maxBytes);
      if (bytes !== undefined && sha256Hex(bytes) === digest) return bytes;
    }
    throw missing(digest, copies.length > 0);
  }

  async putStream(source: AsyncIterable<Uint8Array | string>, maxBytes: number): Promise<Stored> {
    const meter = new BlobMeter(Math.min(maxBytes, MOST_BYTES));
    const parts = inParts(meter.through(source));
    const first = await parts.next();
    const head = first.done === true ? Buffer.alloc(0) : first.value;
    if (head.length < PART_BYTES) {
      await this.put(head);
      return meter.stored();
    }
    const aside = `incoming/${randomBytes(12).toString('hex')}`;
    await this.#objects.upload(aside, withHead(head, parts));
    const stored = meter.stored();
    const { sha256 } = stored;
    if (!(await this.#objects.copy(aside, newCopy(sha256)))) throw missing(sha256, false);
    await this.#objects.remove(aside);
    return stored;
  }

  async *read(digest: string): AsyncGenerator<Buffer> {
    requireName(digest);
    const [newest] = (await this.#copies(digest)).copies;
    if (newest === undefined) throw missing(digest, false);
    const hash = createHash('sha256');
    for await (const piece of this.#objects.read(newest.name)) {
      hash.update(piece);
      yield piece;
    }
    if (hash.digest('hex') !== digest) throw missing(digest, true);
  }

  async touch(digest: string): Promise<boolean> {
    if (!isBlobName(digest)) return false;
    const { copies } = await this.#copies(digest);
    for (const { name } of copies) if (await this.#objects.copy(name, newCopy(digest))) return true;
    return false;
  }

  async removeUnlessFresh(digest: string, freshMs: number): Promise<boolean> {
    if (!isBlobName(digest)) return true;
    const { copies, nowMs } = await this.#copies(digest);
    if (copies.some(({ modifiedMs }) => modifiedMs > nowMs - freshMs)) return false;
    for (const { name } of copies) await this.#objects.remove(name);
    return true;
  }

  of(owner: string): S3Blobs {
    return new S3Blobs(this.#objects.in(ownersPath(owner).join('/')));
  }

  async remove(): Promise<void> {
    for await (const { name } of this.#objects.list()) await this.#objects.remove(name);
  }

  async removeOld(ageMs: number): Promise<number> {
    let removed = 0;
    for await (const { objects, nowMs } of this.#objects.pages())
      for (const { name, modifiedMs } of objects) {
        // By the clock of the server alone: it says both times.
        if (modifiedMs >= nowMs - ageMs) continue;
        await this.#objects.remove(name);
        removed += 1;
      }
    return removed;
  }

  /** S3 has no bounds that it would tell: one that is full says so when it is written to. */
  probe(): Promise<void> {
    return this.#objects.probe();
  }

  /** The copies of a blob, the newest first. */
  async #copies(digest: string): Promise<{ copies: ListedObject[]; nowMs: number }> {
    const copies: ListedObject[] = [];
    let nowMs = 0;
    for await (const page of this.#objects.pages(folderOf(digest))) {
      copies.push(...page.objects);
      ({ nowMs } = page);
    }
    return { copies: copies.toSorted((a, b) => b.modifiedMs - a.modifiedMs), nowMs };
  }
}

const folderOf = (digest: string) => `${digest.slice(0, 2)}/${digest}/`;
const newCopy = (digest: string) => `${folderOf(digest)}${randomBytes(12).toString('hex')}`;

function missing(digest: string, isDamaged: boolean): CodedError {
  return new CodedError('blob_missing', `The stored object ${digest} ${isDamaged ? 'is damaged' : 'is not there'}.`);
}

/** The same bytes in pieces of one part, the last of which is shorter. */
async function* inParts(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let [gathered, length]: [Uint8Array[], number] = [[], 0];
  for await (let piece of source) {
    while (length + piece.length >= PART_BYTES) {
      const room = PART_BYTES - length;
      yield Buffer.concat([...gathered, piece.subarray(0, room)]);
      piece = piece.subarray(room);
      [gathered, length] = [[], 0];
    }
    if (piece.length === 0) continue;
    gathered.push(piece);
    length += piece.length;
  }
  if (length > 0) yield Buffer.concat(gathered);
}

async function* withHead(head: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield head;
  yield* rest;
}
