import type { Readable } from 'node:stream';
import { fromBuffer, open, type Entry, type ZipFile } from 'yauzl';
import { CodedError, messageOf } from '../errors/coded-error.ts';

/** A file in a zip archive. It is inflated as it is read, and never written anywhere. */
export interface ZippedFile {
  readonly name: string;
  open(): AsyncIterable<Uint8Array>;
}

export interface ZipLimits {
  /** Most files of one archive. */
  readonly maxFiles: number;
  /** Most bytes that all files of it may inflate to, counted while they are inflated. */
  readonly maxBytes: number;
  /** Most bytes that a file may inflate to for each byte it takes in the archive. */
  readonly maxRatio: number;
}

export const ZIP_LIMITS: ZipLimits = { maxFiles: 200_000, maxBytes: 16 * 1024 ** 3, maxRatio: 200 };

/** So few bytes may inflate from anything. */
const ALWAYS_BYTES = 1_048_576;
const ENCRYPTED = 0x1;
const UNIX_MAKER = 3;
const FILE_TYPE_MASK = 0o170000;
const SYMBOLIC_LINK = 0o120000;

/** An open archive; its files can be read until it is closed. */
export interface ZipArchive extends Disposable {
  /** In the order of its directory. */
  readonly files: readonly ZippedFile[];
}

/**
 * Opens a zip archive, a file or its bytes. Throws CodedError `import_refused` for an archive that is
 * damaged, encrypted or hostile: names that lead out of a folder or stand twice, links, too many files.
 * Reading its files throws it where they inflate beyond the limits or to another size than their directory
 * says.
 */
export async function openZip(from: string | Buffer, limits: ZipLimits = ZIP_LIMITS): Promise<ZipArchive> {
  const zip = await opened(from);
  try {
    const budget = { left: limits.maxBytes };
    const files = (await entriesOf(zip, limits.maxFiles)).map((entry) => ({
      name: entry.fileName,
      open: () => inflated(zip, entry, budget, limits.maxRatio),
    }));
    return {
      files,
      [Symbol.dispose]: () => {
        zip.close();
      },
    };
  } catch (error) {
    zip.close();
    throw error;
  }
}

function opened(from: string | Buffer): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    const options = { lazyEntries: true, autoClose: false, strictFileNames: true, validateEntrySizes: true };
    const done = (error: Error | null, zip: ZipFile | undefined) => {
      if (zip === undefined) reject(refusal(error));
      else resolve(zip);
    };
    if (typeof from === 'string') open(from, options, done);
    else fromBuffer(from, options, done);
  });
}

function entriesOf(zip: ZipFile, maxFiles: number): Promise<Entry[]> {
  return new Promise((resolve, reject) => {
    const entries: Entry[] = [];
    const names = new Set<string>();
    if (zip.entryCount > maxFiles) {
      reject(refusal(`it has more than ${maxFiles} files`));
      return;
    }
    zip.on('error', (error) => {
      reject(refusal(error));
    });
    zip.on('end', () => {
      resolve(entries);
    });
    zip.on('entry', (entry: Entry) => {
      const why = whyRefused(entry, names);
      if (why !== undefined) {
        reject(refusal(why));
        return;
      }
      names.add(entry.fileName);
      if (!entry.fileName.endsWith('/')) entries.push(entry);
      zip.readEntry();
    });
    zip.readEntry();
  });
}

function whyRefused(entry: Entry, names: ReadonlySet<string>): string | undefined {
  const name = JSON.stringify(entry.fileName.slice(0, 100));
  if (names.has(entry.fileName)) return `the name ${name} stands twice in it`;
  if ((entry.generalPurposeBitFlag & ENCRYPTED) !== 0) return `${name} in it is encrypted`;
  const isUnix = entry.versionMadeBy >>> 8 === UNIX_MAKER;
  const isLink = ((entry.externalFileAttributes >>> 16) & FILE_TYPE_MASK) === SYMBOLIC_LINK;
  return isUnix && isLink ? `${name} in it is a link` : undefined;
}

async function* inflated(
  zip: ZipFile,
  entry: Entry,
  budget: { left: number },
  maxRatio: number,
): AsyncGenerator<Uint8Array> {
  const stream = await new Promise<Readable>((resolve, reject) => {
    zip.openReadStream(entry, (error, readable) => {
      if (error === null) resolve(readable);
      else reject(refusal(error));
    });
  });
  const most = Math.max(ALWAYS_BYTES, entry.compressedSize * maxRatio);
  let given = 0;
  try {
    for await (const piece of stream as AsyncIterable<Buffer>) {
      given += piece.length;
      budget.left -= piece.length;
      if (given > most || budget.left < 0)
        throw refusal(`${JSON.stringify(entry.fileName.slice(0, 100))} in it inflates beyond all bounds`);
      yield piece;
    }
  } catch (error) {
    throw error instanceof CodedError ? error : refusal(messageOf(error));
  } finally {
    stream.destroy();
  }
}

function refusal(why: unknown): CodedError {
  const said = typeof why === 'string' ? why : messageOf(why);
  return new CodedError('import_refused', `The zip archive is refused: ${said}.`);
}
