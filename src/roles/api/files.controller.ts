import { Controller, Delete, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { fileDocument, pageOf, type FileDocument, type FileList } from '../../surfaces/batches/batch-document.ts';
import { BatchFiles, newFileId, type FileRecord } from '../../surfaces/batches/batch-files.store.ts';
import { parseRequest } from '../../surfaces/openai/parse-request.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { CreatedOnce } from '../../surfaces/admission/created-once.ts';
import { Caller, Needs } from './caller.guard.ts';
import { parseUploadFields, receiveUpload } from './file-upload.ts';
import { requireReadable } from './own-answers.ts';
import { askedOnce, parseIdempotencyKey } from './parse.ts';
import { ListFiles, type DeletedFile } from './files.schemas.ts';

/** Files in OpenAI's shape: what batches read and write. */
@Controller('/v1/files')
export class FilesController {
  readonly #files: BatchFiles;
  readonly #created: CreatedOnce;
  readonly #keys: ApiKeys;

  constructor(files: BatchFiles, created: CreatedOnce, keys: ApiKeys) {
    this.#files = files;
    this.#created = created;
    this.#keys = keys;
  }

  @Post()
  @HttpCode(200)
  @Needs('submit')
  async upload(@Caller() caller: ApiCaller, @Req() request: FastifyRequest): Promise<FileDocument> {
    const file = await this.#receive(caller, request);
    requireReadable(caller, file);
    return fileDocument(file);
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown): Promise<FileList> {
    const { files, hasMore } = await this.#files.list(readableBy(caller), parseRequest(ListFiles, query));
    return pageOf(files.map(fileDocument), hasMore);
  }

  @Get(':id')
  @Needs('read')
  async get(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<FileDocument> {
    return fileDocument(await this.#files.get(readableBy(caller), id));
  }

  @Get(':id/content')
  @Needs('read')
  async content(@Caller() caller: ApiCaller, @Param('id') id: string, @Res() reply: FastifyReply) {
    const file = await this.#files.get(readableBy(caller), id);
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
    await this.#files.remove(changeableBy(caller), id);
    return { id, object: 'file', deleted: true };
  }

  /**
   * Keeps the file of a body of multipart/form-data, whose fields may stand before or behind it. Under an
   * Idempotency-Key it is kept once. What is refused leaves a blob without a file, which the courier removes.
   */
  async #receive({ tenant, keyId, limits }: ApiCaller, request: FastifyRequest): Promise<FileRecord> {
    const key = parseIdempotencyKey(request.headers['idempotency-key']);
    const most = limits.tenant.file_bytes;
    await this.#files.requireRoom(tenant, most);
    const { fields, filename, stored } = await receiveUpload(request, (stream) => this.#files.store(stream));
    // An upload may take a quarter of an hour, in which its tenant can have been deleted with all its files.
    if (!(await this.#keys.isValid(keyId)))
      throw new CodedError('unauthenticated', 'This API key was revoked, or has ended, during the upload.');
    const { purpose, ...expiry } = parseUploadFields(fields);
    const asked = askedOnce(key, '/v1/files', { filename, purpose, ...expiry, sha256: stored.sha256 });
    const id = await this.#created.idFor(tenant, asked, newFileId());
    return this.#files.keep({ id, tenant, keyId, filename, ...stored }, { seconds: expiry.seconds, most });
  }
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
