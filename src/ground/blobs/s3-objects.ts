import { randomBytes } from 'node:crypto';
import { storageUnavailable } from './storage-error.ts';
import { CodedError } from '../errors/coded-error.ts';
import { parseList, textOf, type ListPage, type ListedObject } from './s3-answers.ts';
import type { Answered, Asked, S3Client } from './s3-client.ts';
import type { S3Place } from '../config/s3-place.ts';

/** What came of a file that is written unless there is one; `same` where what is there has its bytes. */
export type Creation = 'created' | 'same' | 'other';

/** A part of an upload, and what is asked for at once of a download. */
export const PART_BYTES = 8 * 1_048_576;
/** The server says that there is no object, and not that something else is missing. */
const ABSENT = ['NoSuchKey'];
const RANGE = /^bytes (\d+)-(\d+)\/(\d+)$/;

/**
 * The objects in one place of a bucket. Names are relative to it and made of letters, digits and `/._-`. What
 * is written is whole or not there, and seen by everybody once the call resolves. Throws CodedErrors
 * `storage_unavailable` and `storage_full`.
 */
export class S3Objects {
  readonly place: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(client: S3Client, { bucket, prefix }: S3Place) {
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.place = `s3://${bucket}/${prefix}`.replace(/\/$/, '');
  }

  /** Those whose names begin with this name and a slash. */
  in(name: string): S3Objects {
    return new S3Objects(this.#client, { bucket: this.#bucket, prefix: `${this.#prefix}${name}/` });
  }

  /** The bytes of an object; undefined where there is none. Throws `body_too_large` beyond `most` bytes. */
  async get(name: string, most: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    let length = 0;
    for await (const piece of this.read(name)) {
      length += piece.length;
      if (length > most) throw new CodedError('body_too_large', `The object ${name} has more than ${most} bytes.`);
      pieces.push(piece);
    }
    // An object without a byte has one piece as well.
    return pieces.length === 0 ? undefined : Buffer.concat(pieces);
  }

  /** Yields an object, a few megabytes at a time; nothing at all where there is none. */
  async *read(name: string): AsyncGenerator<Buffer> {
    let [at, total] = [0, 1];
    while (at < total) {
      const range = `bytes=${at}-${at + PART_BYTES - 1}`;
      const asked: Asked = { ...this.#of('GET', name), headers: { range }, expects: [...ABSENT, 'InvalidRange'] };
      const answer = await this.#client.ask(asked, PART_BYTES);
      // Whether it is gone or has no byte at all: of an empty one, no range can be had.
      if (answer === undefined && at === 0) {
        if (await this.#isEmpty(name)) yield Buffer.alloc(0);
        return;
      }
      if (answer === undefined) throw storageUnavailable(`The object ${name} went while it was read.`);
      total = totalOf(answer, at);
      at += answer.bytes.length;
      yield answer.bytes;
    }
  }

  /** Writes an object, or another in its place. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#client.ask({ ...this.#of('PUT', name), body: bytes });
  }

  /**
   * Writes an object unless there is one of this name: whoever comes first decides. `same` may be ours, of a
   * try whose answer was lost.
   */
  async create(name: string, bytes: Uint8Array): Promise<Creation> {
    const headers = { 'if-none-match': '*' };
    const answer = await this.#client.ask({
      ...this.#of('PUT', name),
      headers,
      body: bytes,
      expects: ['PreconditionFailed'],
    });
    if (answer !== undefined) return 'created';
    return (await this.get(name, bytes.length).catch(ifLarger))?.equals(bytes) === true ? 'same' : 'other';
  }

  /** Puts a copy under another name; false where there is nothing to copy. */
  async copy(from: string, to: string): Promise<boolean> {
    const headers = { 'x-amz-copy-source': `/${this.#bucket}/${this.#prefix}${from}` };
    return (await this.#client.ask({ ...this.#of('PUT', to), headers, expects: ABSENT })) !== undefined;
  }

  /** Removes an object, if there is one. */
  async remove(name: string): Promise<void> {
    await this.#client.ask({ ...this.#of('DELETE', name), expects: ABSENT });
  }

  /** Pages of the objects whose names begin like this; each with the time of the server (ms). */
  async *pages(begins = '', delimiter = ''): AsyncGenerator<ListPage & { readonly nowMs: number }> {
    let next: string | undefined;
    do {
      const query = {
        'list-type': '2',
        prefix: `${this.#prefix}${begins}`,
        ...(delimiter === '' ? {} : { delimiter }),
        ...(next === undefined ? {} : { 'continuation-token': next }),
      };
      const answer = await this.#client.ask({ method: 'GET', path: this.#bucket, query });
      const page = parseList(answer?.bytes.toString('utf8') ?? '');
      if (answer === undefined || page === undefined) throw storageUnavailable('The object storage gives no list.');
      next = page.next;
      yield {
        objects: page.objects.map((object) => ({ ...object, name: object.name.slice(this.#prefix.length) })),
        folders: page.folders.map((folder) => folder.slice(this.#prefix.length)),
        next,
        nowMs: Date.parse(answer.headers.get('date') ?? '') || Date.now(),
      };
    } while (next !== undefined);
  }

  /** All objects whose names begin like this, in the order of their names. */
  async *list(begins = ''): AsyncGenerator<ListedObject> {
    for await (const { objects } of this.pages(begins)) yield* objects;
  }

  /**
   * Writes an object in parts, of which each but the last has at least 5 MiB. Where the source throws, there
   * is no object, and what came of it is given up.
   */
  async upload(name: string, parts: AsyncIterable<Uint8Array>): Promise<void> {
    const begun = await this.#client.ask({ ...this.#of('POST', name), query: { uploads: '' } });
    const uploadId = textOf(begun?.bytes.toString('utf8') ?? '', 'UploadId');
    if (uploadId === undefined) throw storageUnavailable('The object storage takes no large objects.');
    try {
      const etags: string[] = [];
      for await (const body of parts) {
        const query = { partNumber: String(etags.length + 1), uploadId };
        const answer = await this.#client.ask({ ...this.#of('PUT', name), query, body });
        etags.push(answer?.headers.get('etag') ?? '');
      }
      const listed = etags.map((etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${etag}</ETag></Part>`);
      const body = Buffer.from(`<CompleteMultipartUpload>${listed.join('')}</CompleteMultipartUpload>`);
      await this.#complete(name, uploadId, body);
    } catch (error) {
      await this.#client
        .ask({ ...this.#of('DELETE', name), query: { uploadId }, expects: ['NoSuchUpload'] })
        .catch(() => undefined);
      throw error;
    }
  }

  async #complete(name: string, uploadId: string, body: Buffer): Promise<void> {
    const asked: Asked = { ...this.#of('POST', name), query: { uploadId }, body, expects: ['NoSuchUpload'] };
    if ((await this.#client.ask(asked)) !== undefined) return;
    // It was completed by a try whose answer was lost, or given up by somebody else.
    for await (const object of this.list(name)) if (object.name === name) return;
    throw storageUnavailable('The object storage has given up an upload.');
  }

  /** Whether objects can be written here now. Throws where they cannot. */
  async probe(): Promise<void> {
    const name = `probe/${randomBytes(12).toString('hex')}`;
    await this.put(name, Buffer.from('probe'));
    await this.remove(name);
  }

  async #isEmpty(name: string): Promise<boolean> {
    return (await this.#client.ask({ ...this.#of('GET', name), expects: ABSENT }, 0)) !== undefined;
  }

  #of(method: Asked['method'], name: string): Pick<Asked, 'method' | 'path'> {
    return { method, path: `${this.#bucket}/${this.#prefix}${name}` };
  }
}

/** How long the object is of which this is the part from `at` on. Throws where it is another part. */
function totalOf({ status, headers, bytes }: Answered, at: number): number {
  const [, from, to, total] = RANGE.exec(headers.get('content-range') ?? '') ?? [];
  const isPart = status === 206 && Number(from) === at && Number(to) - at + 1 === bytes.length;
  if (!isPart || bytes.length === 0) throw storageUnavailable('The object storage gives no parts of objects.');
  return Number(total);
}

function ifLarger(error: unknown): undefined {
  if (!(error instanceof CodedError) || error.code !== 'body_too_large') throw error;
}
