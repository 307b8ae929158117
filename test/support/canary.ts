import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openAny } from '../../src/core/jobs/erased-record.ts';
import { systemCodeOf } from '../../src/ground/errors/coded-error.ts';
import type { Redis } from 'ioredis';

/** A record in a file of an archive. */
interface Filed {
  readonly path: string;
  readonly index: number;
  readonly record: Buffer;
}

/** Every record in every file of an archive, of parts and of files that a crash left as well. */
export function recordsIn(archive: string): Filed[] {
  return filesIn(archive)
    .filter((path) => !path.startsWith(join(archive, 'erased')))
    .flatMap((path) => {
      const bytes = readFileSync(path);
      let at = bytes.indexOf(10) + 1;
      // A file that is only being begun, or that a kill has cut off there.
      if (at === 0) return [];
      const head = JSON.parse(bytes.subarray(0, at).toString()) as { from: number; items: [string, number, number][] };
      return head.items.flatMap(([, entryBytes, length], offset) => {
        const record = bytes.subarray(at + entryBytes, (at += entryBytes + length));
        return length === 0 ? [] : [{ path, index: head.from + offset, record }];
      });
    });
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((path) => statSync(path).isFile());
}

/** What a record says, as one text. */
function opened(record: Buffer): string {
  const found = openAny(record);
  const texts = Object.values(found).map((value: unknown) =>
    Buffer.isBuffer(value)
      ? value.toString('latin1')
      : typeof value === 'object' && value !== null && 'payload' in value && Buffer.isBuffer(value.payload)
        ? value.payload.toString('latin1')
        : JSON.stringify(value),
  );
  return texts.join('\n');
}

/** Whether a text stands in these bytes, as it is, in hexadecimal digits, or anywhere in Base64. */
function holds(bytes: Buffer, canary: string): boolean {
  const forms = [canary, Buffer.from(canary).toString('hex')];
  for (let shift = 0; shift < 3; shift += 1) {
    // What stands before and behind it changes the first and the last letters.
    const text = Buffer.concat([Buffer.alloc(shift), Buffer.from(canary)])
      .toString('base64')
      .replace(/=+$/, '');
    forms.push(text.slice(shift === 0 ? 0 : 4, -4));
  }
  return forms.some((form) => bytes.includes(form));
}

/** Everything of a value of Redis. */
async function valueOf(redis: Redis, key: string): Promise<Buffer> {
  const read: Record<string, () => Promise<unknown>> = {
    string: () => redis.getBuffer(key),
    hash: () => redis.hgetallBuffer(key),
    set: () => redis.smembersBuffer(key),
    zset: () => redis.zrangeBuffer(key, '0', '-1'),
    list: () => redis.lrangeBuffer(key, 0, -1),
    stream: () => redis.xrangeBuffer(key, '-', '+'),
  };
  const value = await read[await redis.type(key)]?.();
  const flat = (one: unknown): Buffer[] =>
    Buffer.isBuffer(one)
      ? [one]
      : Array.isArray(one)
        ? one.flatMap(flat)
        : typeof one === 'object' && one !== null
          ? Object.entries(one).flatMap(([name, more]) => [Buffer.from(name), ...flat(more)])
          : [];
  return Buffer.concat(flat(value));
}

/** Where any of these texts stands: in keys of Redis, in files of these folders, in opened records. */
export async function findCanaries(
  canaries: readonly string[],
  { redis, folders, archive }: { redis: Redis; folders: readonly string[]; archive: string },
): Promise<string[]> {
  const found: string[] = [];
  const look = (place: string, bytes: Buffer) => {
    if (canaries.some((canary) => holds(bytes, canary))) found.push(place);
  };
  for (const key of await redis.keys('*')) {
    const value = await valueOf(redis, key);
    // It went between the two looks.
    if (value.length === 0) continue;
    look(key, Buffer.concat([Buffer.from(key), value]));
    if (/:record:/.test(key)) look(`${key}, opened`, Buffer.from(opened(value), 'latin1'));
  }
  const files = unlessMoved(() => folders.flatMap(filesIn).map((path) => ({ path, bytes: readFileSync(path) })));
  for (const { path, bytes } of files) look(path, Buffer.concat([Buffer.from(path), bytes]));
  for (const { path, index, record } of unlessMoved(() => recordsIn(archive)))
    look(`entry ${index} of ${path}, opened`, Buffer.from(opened(record), 'latin1'));
  return found;
}

/** What `read` returns once no file went while it read: what got another name would be overlooked. */
function unlessMoved<Read>(read: () => Read): Read {
  for (;;) {
    try {
      return read();
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    }
  }
}
