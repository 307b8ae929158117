import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CodedError, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { onDisk } from '../../ground/blobs/storage-error.ts';
import type { Storage } from '../../ground/blobs/storage.ts';
import type { S3Objects } from '../../ground/blobs/s3-objects.ts';
import { isS3, placeIn } from '../../ground/config/s3-place.ts';

const PART = /^[^/]+\/(\d{12})-(\d{1,12})$/;
/** A worker sends four of 4 MiB; each is an object, which is paid for. */
const MOST_PARTS = 256;

/** Where what came of a blob is kept until it is whole, and every gateway of the pool finds it. */
export interface UploadParts {
  /**
   * Keeps bytes at this place of an upload, and returns how much there is now. Bytes that came twice change
   * nothing; those that would leave a hole are not kept.
   */
  add(name: string, offset: number, bytes: Uint8Array): Promise<number>;
  whole(name: string): Promise<Buffer>;
  remove(name: string): Promise<void>;
}

/** The parts beside the blobs of a pool: in its folder, or in S3. What is left of one goes with its age. */
export function uploadParts(storage: Storage, place: string): UploadParts {
  const beside = placeIn(place, 'uploads');
  return isS3(place) ? objectParts(storage.objects(beside)) : folderParts(beside);
}

/** One file for each upload. */
function folderParts(folder: string): UploadParts {
  return {
    add: (name, offset, bytes) => onDisk(() => append(join(folder, name), offset, bytes)),
    whole: (name) => onDisk(() => readFile(join(folder, name))),
    remove: (name) => onDisk(() => rm(join(folder, name), { force: true })),
  };
}

/** Writes at this place of a file that is as long, and returns its length now. */
async function append(path: string, offset: number, bytes: Uint8Array): Promise<number> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, 'r+').catch(async (error: unknown) => {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
    return open(path, 'w+', 0o640);
  });
  try {
    const { size } = await file.stat();
    if (offset > size) return size;
    // On a disk that is nearly full it may end early: whoever sends goes on from the length that is told.
    const { bytesWritten } = await file.write(bytes, 0, bytes.length, offset);
    return Math.max(size, offset + bytesWritten);
  } finally {
    await file.close();
  }
}

/** One object for each part, whose name says where it belongs: nothing can be appended in S3. */
function objectParts(objects: S3Objects): UploadParts {
  const partsOf = async (name: string) => {
    const parts: { name: string; from: number; to: number }[] = [];
    for await (const object of objects.list(`${name}/`)) {
      const [, from, length] = PART.exec(object.name) ?? [];
      if (from === undefined) continue;
      parts.push({ name: object.name, from: Number(from), to: Number(from) + Number(length) });
      if (parts.length > MOST_PARTS)
        throw new CodedError('request_invalid', `A blob is handed in as at most ${MOST_PARTS} parts.`);
    }
    return parts;
  };
  return {
    async add(name, offset, bytes) {
      const kept = await partsOf(name);
      const length = lengthOf(kept);
      if (offset > length || bytes.length === 0) return length;
      const part = `${name}/${String(offset).padStart(12, '0')}-${bytes.length}`;
      await objects.put(part, bytes);
      return lengthOf([...kept, { from: offset, to: offset + bytes.length }]);
    },
    async whole(name) {
      const parts = await partsOf(name);
      const whole = Buffer.alloc(lengthOf(parts));
      for (const { name: part, from, to } of parts) (await objects.get(part, to - from))?.copy(whole, from);
      return whole;
    },
    async remove(name) {
      for (const { name: part } of await partsOf(name)) await objects.remove(part);
    },
  };
}

/** How far parts go from the beginning without a hole. */
function lengthOf(parts: readonly { readonly from: number; readonly to: number }[]): number {
  return parts
    .toSorted((a, b) => a.from - b.from)
    .reduce((length, { from, to }) => (from <= length ? Math.max(length, to) : length), 0);
}
