import type { Readable } from 'node:stream';
import { Busboy, type BusboyInstance } from '@fastify/busboy';
import type { FastifyRequest } from 'fastify';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { ExpiresAfter, UPLOAD_PURPOSE } from './files.schemas.ts';

/** How long the rest of a refused body is read. */
const DISCARD_MS = 30_000;
const MAX_FIELDS = 10;
const MAX_FIELD_BYTES = 1_024;

/** A file that was stored while it came, and the fields beside it. */
interface Upload<Stored> {
  readonly fields: ReadonlyMap<string, string>;
  readonly filename: string;
  readonly stored: Stored;
}

/**
 * The one file of a body of multipart/form-data, and the fields on either side of it. Throws CodedErrors
 * `media_type_unsupported` and `request_invalid`, and what `store` throws.
 */
export async function receiveUpload<Stored>(
  request: FastifyRequest,
  store: (stream: Readable) => Promise<Stored>,
): Promise<Upload<Stored>> {
  const parser = parserOf(request);
  const fields = new Map<string, string>();
  let upload: Promise<{ filename: string; stored: Stored }> | undefined;
  const strange: string[] = [];
  let failed: (error: unknown) => void = () => undefined;
  parser.on('field', (name, value) => fields.set(name, value));
  parser.on('file', (name, stream: Readable, filename: string) => {
    if (name !== 'file') {
      strange.push(name);
      stream.resume();
      return;
    }
    upload = store(stream).then((stored) => ({ filename: cleanName(filename), stored }));
    upload.catch((error: unknown) => failed(error));
  });
  await parsed(request.body as Readable, parser, (fail) => (failed = fail));
  const file = await upload;
  if (strange.length > 0) throw bad('The file must be in the field "file".', 'file');
  if (file === undefined) throw bad('The field "file" is missing.', 'file');
  return { fields, ...file };
}

/** What the fields of an upload say. Throws CodedError `request_invalid` that names the one at fault. */
export function parseUploadFields(fields: ReadonlyMap<string, string>): {
  readonly purpose: string;
  readonly seconds?: number;
} {
  const expiry: Record<string, string> = {};
  for (const [name, value] of fields) {
    const [, member] = /^expires_after\[(anchor|seconds)\]$/.exec(name) ?? [];
    if (member !== undefined) expiry[member] = value;
    else if (name !== 'purpose') throw bad(`There is no field ${name.slice(0, 40)}.`, 'file');
  }
  if (fields.get('purpose') !== UPLOAD_PURPOSE)
    throw bad(`purpose: this service accepts only "${UPLOAD_PURPOSE}" here.`, 'purpose');
  const expires = ExpiresAfter.safeParse(expiry);
  if (!expires.success)
    throw bad('expires_after: it has anchor "created_at" and seconds from 3600 to 2592000.', 'expires_after');
  return { purpose: UPLOAD_PURPOSE, ...('seconds' in expires.data ? { seconds: expires.data.seconds } : {}) };
}

function parserOf({ headers }: FastifyRequest): BusboyInstance {
  const type = headers['content-type'] ?? '';
  if (!/^multipart\/form-data\b/i.test(type))
    throw new CodedError('media_type_unsupported', 'Send the file as multipart/form-data.');
  try {
    return new Busboy({
      headers: { ...headers, 'content-type': type },
      limits: { files: 1, fields: MAX_FIELDS, parts: MAX_FIELDS + 1, fieldSize: MAX_FIELD_BYTES, headerPairs: 20 },
    });
  } catch (cause) {
    throw malformed(cause);
  }
}

/** Resolves when the whole body was read. `onFailure` is given what ends it where the store gives up. */
function parsed(
  body: Readable,
  parser: BusboyInstance,
  onFailure: (fail: (error: unknown) => void) => void,
): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const fail = (cause: unknown) => reject(malformed(cause));
    // The store gave up and reads no further; the parser would wait for it forever.
    onFailure((error) => {
      body.unpipe(parser);
      parser.destroy();
      discard(body);
      reject(error instanceof Error ? error : new Error(messageOf(error)));
    });
    parser.once('finish', resolve);
    parser.once('error', fail);
    body.once('error', fail);
    body.once('close', () => {
      if (!body.readableEnded) {
        parser.destroy();
        fail(new Error('it broke off'));
      }
    });
    body.pipe(parser);
  });
}

const bad = (message: string, param: string) => new CodedError('request_invalid', message, { param });

const malformed = (cause: unknown) =>
  new CodedError('request_invalid', `The multipart body is malformed: ${messageOf(cause).slice(0, 100)}.`, {
    cause,
    param: 'file',
  });

/** Reads what still comes, so that a client that sends everything first can hear the answer; not for long. */
function discard(body: Readable): void {
  const timer = setTimeout(() => body.destroy(), DISCARD_MS).unref();
  body.once('close', () => clearTimeout(timer)).once('error', () => undefined);
  body.resume();
}

/** A name for people: no path, nothing that could break a header. */
function cleanName(filename: string): string {
  const [name = ''] = filename.split(/[/\\]/).slice(-1);
  return (
    name
      .replace(/[^\x20-\x7e]/g, '?')
      .replace(/"/g, "'")
      .slice(0, 255) || 'file'
  );
}
