import { Readable } from 'node:stream';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { BlobStore } from '../../src/ground/blobs/blob-store.ts';
import type { Records } from '../../src/ground/blobs/records.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';

const HOUR = 3_600_000;
/** More than two parts of an upload to S3, and not a whole number of them. */
const LARGE = 17 * 1_048_576 + 5;

/** What a contract of stores is run against: empty places of one kind, and what is kept in each. */
export interface BlobPlaces {
  store(): Promise<{ blobs: BlobStore; records: Records }>;
  /** The paths or names of everything in a store that was made here. */
  names(blobs: BlobStore): Promise<string[]>;
  /** Changes a byte of a stored blob, and keeps its name. */
  damage(blobs: BlobStore, digest: string): Promise<void>;
}

async function all(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** What every store of blobs holds to, be it a folder or a bucket. */
export function blobContract(places: () => BlobPlaces): void {
  const empty = () => places().store();

  test('what was stored is read, whole or in pieces, under its digest and no other name', async () => {
    const { blobs } = await empty();
    const bytes = fc.uint8Array({ maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(bytes, async (array) => {
        const content = Buffer.from(array);
        const digest = await blobs.put(content);
        expect(digest).toBe(sha256Hex(content));
        expect(await blobs.get(digest, 300)).toEqual(content);
        expect(await all(blobs.read(digest))).toEqual(content);
      }),
      { numRuns: 10, examples: [[new Uint8Array()]] },
    );
    for (const name of ['', '../x', 'A'.repeat(64), sha256Hex('absent')]) {
      await expect(blobs.get(name, 300)).rejects.toMatchObject({ code: 'blob_missing' });
      await expect(all(blobs.read(name))).rejects.toMatchObject({ code: 'blob_missing' });
      expect(await blobs.touch(name)).toBe(false);
    }
  });

  test('what is larger than it may be, or damaged, is missing', async () => {
    const { blobs } = await empty();
    const digest = await blobs.put(Buffer.from('twelve bytes'));
    await expect(blobs.get(digest, 11)).rejects.toMatchObject({ code: 'blob_missing' });
    await places().damage(blobs, digest);
    await expect(blobs.get(digest, 100)).rejects.toMatchObject({ code: 'blob_missing' });
    await expect(all(blobs.read(digest))).rejects.toMatchObject({ code: 'blob_missing' });
    // Whoever stores it again has it stored.
    await blobs.put(Buffer.from('twelve bytes'));
    expect((await blobs.get(digest, 12)).toString()).toBe('twelve bytes');
  });

  test('a stream of any length is stored under its digest; one that is too long or breaks leaves nothing', async () => {
    const { blobs } = await empty();
    const large = Buffer.alloc(LARGE, 'a large object ');
    // S3 writes parts of 8 MiB: at their bounds, below and above.
    for (const length of [0, 1, 8 * 1_048_576 - 1, 8 * 1_048_576, LARGE]) {
      const content = large.subarray(0, length);
      const stored = await blobs.putStream(Readable.from(cut(content, 1_000_003)), LARGE);
      expect(stored).toEqual({ sha256: sha256Hex(content), bytes: length });
      expect((await all(blobs.read(stored.sha256))).equals(content)).toBe(true);
    }
    const before = await places().names(blobs);
    await expect(blobs.putStream(Readable.from(cut(large, 1_000_003)), LARGE - 1)).rejects.toMatchObject({
      code: 'body_too_large',
    });
    const breaking = async function* () {
      yield* cut(large, 1_000_003);
      await Promise.resolve();
      throw new Error('the sender went away');
    };
    await expect(blobs.putStream(breaking(), LARGE)).rejects.toThrow('the sender went away');
    expect(await places().names(blobs)).toEqual(before);
  });

  test('what belongs to one owner goes with it, and nothing that another has of the same', async () => {
    const { blobs } = await empty();
    const bytes = Buffer.from('asked twice');
    const [one, two] = [blobs.of('job_one'), blobs.of('job_two')];
    const [digest = ''] = await Promise.all([blobs, one, two].map((store) => store.put(bytes)));
    await one.remove();
    await one.remove();
    await expect(one.get(digest, 100)).rejects.toMatchObject({ code: 'blob_missing' });
    for (const store of [blobs, two]) expect(await store.get(digest, 100)).toEqual(bytes);
    expect(() => blobs.of('../job')).toThrow();
  });

  test('what is fresh is removed by nobody, and what is stored again never goes', async () => {
    const { blobs } = await empty();
    const bytes = Buffer.from('stored again and again');
    const digest = await blobs.put(bytes);
    expect(await blobs.touch(digest)).toBe(true);
    expect(await blobs.removeUnlessFresh(digest, HOUR)).toBe(false);
    expect(await blobs.removeOld(HOUR)).toBe(0);
    for (let round = 0; round < 10; round += 1) {
      const removals = [blobs.removeOld(-HOUR), blobs.removeUnlessFresh(digest, -HOUR)];
      await Promise.all(removals);
      await expect(blobs.get(digest, 100)).rejects.toMatchObject({ code: 'blob_missing' });
      await blobs.put(bytes);
      expect(await blobs.get(digest, 100)).toEqual(bytes);
    }
    await blobs.of('job_old').put(bytes);
    expect(await blobs.removeOld(-HOUR)).toBe(2);
    expect(await places().names(blobs)).toEqual([]);
  });

  test('of records with one name the first stays, whoever writes at once', async () => {
    const { records } = await empty();
    expect(await records.read('month')).toBeUndefined();
    const writers = Array.from({ length: 12 }, (_, at) => Buffer.from(`the statement of writer ${at}`));
    await Promise.all(writers.map((bytes) => records.create('month', bytes)));
    const first = await records.read('month');
    expect(writers.filter((bytes) => first?.equals(bytes))).toHaveLength(1);
    await records.create('month', Buffer.from('later'));
    expect(await records.read('month')).toEqual(first);
  });
}

function* cut(bytes: Buffer, length: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}
