import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { S3Objects } from './s3-objects.ts';
import { ignoreAbsent } from './absent-files.ts';
import { createDurably } from './durable-file.ts';
import { onDisk } from './storage-error.ts';

/** A record is a signed statement, or as small as one. */
const MOST_BYTES = 16 * 1_048_576;

/** Small files that are written once: whoever comes first decides. */
export interface Records {
  /** Writes a record unless there is one of this name; durable when this resolves. */
  create(name: string, bytes: Uint8Array): Promise<void>;
  /** The record of this name; undefined where there is none. */
  read(name: string): Promise<Buffer | undefined>;
}

/** Records as the files of a folder. */
export function folderRecords(folder: string): Records {
  return {
    async create(name, bytes) {
      await onDisk(() => createDurably({ path: join(folder, name), bytes }));
    },
    async read(name) {
      return onDisk(() => readFile(join(folder, name))).catch((error: unknown) => {
        ignoreAbsent(error);
        return undefined;
      });
    },
  };
}

/** Records as objects of S3, by `If-None-Match`. */
export function objectRecords(objects: S3Objects): Records {
  return {
    async create(name, bytes) {
      await objects.create(name, bytes);
    },
    read: (name) => objects.get(name, MOST_BYTES),
  };
}
