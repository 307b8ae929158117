import type { Readable } from 'node:stream';
import { Busboy, type BusboyInstance } from '@fastify/busboy';
import { Controller, Delete, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fileDocument, pageOf, type FileDocument, type FileList } from '../../surfaces/batches/batch-document.ts';
import { BatchFiles, type FileRecord } from '../../surfaces/batches/batch-files.store.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { parseRequest } from '../../surfaces/openai/parse-request.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { CreatedOnce } from '../../surfaces/tenants/created-once.ts';
import { Caller, Needs } from './caller.guard.ts';
import { askedOnce, parseIdempotencyKey } from './parse.ts';
import { ExpiresAfter, ListFiles, UPLOAD_PURPOSE, type DeletedFile } from './files.schemas.ts';

/** How long the rest of a refused body is read. */
const DISCARD_MS = 30_000;
const MAX_FIELDS = 10;
const MAX_FIELD_BYTES = 1_024;

/** Files in OpenAI's shape: what batches read and write. */
@Controller('/v1/files')
export class FilesController {
  readonly #files: BatchFiles;
  readonly #created: CreatedOnce;

  constructor(files: BatchFiles, created: CreatedOnce) {
    this.#files = files;
    this.#created = created;
  }

  @Post()
  @HttpCode(200)
  @Needs('submit')
  async upload(@Caller() caller: ApiCaller, @Req() request: FastifyRequest): Promise<FileDocument> {
    return fileDocument(await this.#receive(caller.tenant, request));
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown): Promise<FileList> {
    const { files, hasMore } = await this.#files.list(caller.tenant, parseRequest(ListFiles, query));
    return pageOf(files.map(fileDocument), hasMore);
  }

  @Get(':id')
  @Needs('read')
  async get(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<FileDocument> {
    return fileDocument(await this.#files.get(caller.tenant, id));
  }

  @Get(':id/content')
  @Needs('read')
  async content(@Caller() caller: ApiCaller, @Param('id') id: string, @Res() reply: FastifyReply) {
    const file = await this.#files.get(caller.tenant, id);
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': file.bytes,
      'content-disposition': `attachment; filename="${file.id}.jsonl"`,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
    try {
      for await (const piece of this.#files.blobs.read(file.sha256)) {
        if (raw.destroyed) return;
        if (!raw.write(piece)) await new Promise<void>((resolve) => onceDrained(raw, resolve));
      }
      raw.end();
    } catch {
      // The length was promised: a connection that breaks off is how the reader learns that the rest is
      // missing.
      raw.destroy();
    }
  }

  @Delete(':id')
  @Needs('submit')
  async remove(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<DeletedFile> {
    await this.#files.remove(caller.tenant, id);
    return { id, object: 'file', deleted: true };
  }

  /**
   * The one file of a multipart body, written while it comes. `purpose` must come before it, as every client
   * sends it.
   */
  async #receive(tenant: string, request: FastifyRequest): Promise<FileRecord> {
    if (!/^multipart\/form-data\b/i.test(request.headers['content-type'] ?? ''))
      throw new CodedError('media_type_unsupported', 'Send the file as multipart/form-data.');
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    let parser: BusboyInstance;
    try {
      parser = new Busboy({
        headers: { ...request.headers, 'content-type': request.headers['content-type'] ?? '' },
        limits: { files: 1, fields: MAX_FIELDS, parts: MAX_FIELDS + 1, fieldSize: MAX_FIELD_BYTES, headerPairs: 20 },
      });
    } catch (cause) {
      throw new CodedError('request_invalid', `The multipart body is malformed: ${messageOf(cause).slice(0, 100)}.`, {
        cause,
      });
    }
    let purpose: string | undefined;
    const expiry: Record<string, string> = {};
    let upload: Promise<FileRecord> | undefined;
    let uploadFailed: (error: unknown) => void = () => undefined;
    let refusal: CodedError | undefined;
    parser.on('field', (name, value) => {
      if (name === 'purpose') purpose = value;
      else if (/^expires_after\[\w{1,20}\]$/.test(name)) expiry[name.slice(14, -1)] = value;
      else refusal ??= bad(`There is no field ${name.slice(0, 40)}.`, 'file');
    });
    parser.on('file', (name, stream: Readable, filename: string) => {
      if (name !== 'file' || refusal !== undefined) {
        refusal ??= bad('The file must be in the field "file".', 'file');
        stream.resume();
        return;
      }
      const expires = ExpiresAfter.safeParse(expiry);
      if (!expires.success) {
        refusal = bad('expires_after: it has anchor "created_at" and seconds from 3600 to 2592000.', 'expires_after');
        stream.resume();
        return;
      }
      const cleaned = cleanName(filename);
      upload = this.#files.upload(
        {
          tenant,
          filename: cleaned,
          keepMs: 'seconds' in expires.data ? expires.data.seconds * 1_000 : undefined,
          idFor: (sha256, fresh) =>
            this.#created.idFor(tenant, askedOnce(key, '/v1/files', { name: cleaned, purpose, expiry, sha256 }), fresh),
        },
        stream,
      );
      upload.catch((error: unknown) => uploadFailed(error));
    });
    const body = request.body as Readable;
    await new Promise<void>((resolve, reject) => {
      const fail = (cause: unknown) =>
        reject(bad(`The multipart body is malformed: ${messageOf(cause).slice(0, 100)}.`, 'file'));
      // The store gave up and reads no further; the parser would wait for it forever.
      uploadFailed = (error) => {
        body.unpipe(parser);
        parser.destroy();
        discard(body);
        reject(error instanceof Error ? error : new Error(messageOf(error)));
      };
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
    const file = await upload;
    if (file === undefined) throw refusal ?? bad('The field "file" is missing.', 'file');
    if (refusal === undefined && purpose !== UPLOAD_PURPOSE)
      refusal = bad(`purpose: this service accepts only "${UPLOAD_PURPOSE}" here.`, 'purpose');
    if (refusal === undefined) return file;
    await this.#files.remove(tenant, file.id);
    throw refusal;
  }
}

const bad = (message: string, param: string) => new CodedError('request_invalid', message, { param });

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

function onceDrained(raw: FastifyReply['raw'], resolve: () => void): void {
  const done = () => {
    raw.off('drain', done);
    raw.off('close', done);
    resolve();
  };
  raw.once('drain', done);
  raw.once('close', done);
}
