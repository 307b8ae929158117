import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query } from '@nestjs/common';
import { batchDocument, pageOf, type BatchDocument, type BatchList } from '../../surfaces/batches/batch-document.ts';
import { BatchFiles } from '../../surfaces/batches/batch-files.store.ts';
import { Batches, newBatchId } from '../../surfaces/batches/batch.store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { StorageGate } from '../../ground/redis/storage-gate.ts';
import { parseRequest } from '../../surfaces/openai/parse-request.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { CreateBatch, ListBatches } from './batches.schemas.ts';
import { Caller, Needs } from './caller.guard.ts';
import { CreatedOnce } from '../../surfaces/admission/created-once.ts';
import { requireReadable } from './own-answers.ts';
import { askedOnce, parseIdempotencyKey } from './parse.ts';

/** Batches in OpenAI's shape. The courier runs them. */
@Controller('/v1/batches')
export class BatchesController {
  readonly #batches: Batches;
  readonly #files: BatchFiles;
  readonly #gate: StorageGate;
  readonly #created: CreatedOnce;

  constructor(batches: Batches, files: BatchFiles, gate: StorageGate, created: CreatedOnce) {
    this.#created = created;
    this.#batches = batches;
    this.#files = files;
    this.#gate = gate;
  }

  @Post()
  @HttpCode(200)
  @Needs('submit')
  async create(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
  ): Promise<BatchDocument> {
    const { input_file_id, endpoint, metadata, output_expires_after } = parseRequest(CreateBatch, body);
    await this.#gate.requireRoom();
    const file = await this.#files.get(readableBy(caller), input_file_id);
    if (file.purpose !== 'batch')
      throw new CodedError('request_invalid', 'input_file_id: this file was not uploaded for a batch.', {
        param: 'input_file_id',
      });
    const once = askedOnce(parseIdempotencyKey(idempotencyKey), '/v1/batches', body);
    const id = await this.#created.idFor(caller.tenant, once, newBatchId());
    const batch = await this.#batches.create(id, {
      tenant: caller.tenant,
      keyId: caller.keyId,
      endpoint,
      inputFile: file.id,
      inputSha256: file.sha256,
      metadata: metadata ?? {},
      ...(output_expires_after === undefined ? {} : { outputSeconds: output_expires_after.seconds }),
    });
    requireReadable(caller, batch);
    return batchDocument(batch);
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown): Promise<BatchList> {
    const { batches, hasMore } = await this.#batches.list(readableBy(caller), parseRequest(ListBatches, query));
    return pageOf(batches.map(batchDocument), hasMore);
  }

  @Get(':id')
  @Needs('read')
  async get(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<BatchDocument> {
    return batchDocument(await this.#batches.get(readableBy(caller), id));
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @Needs('submit')
  async cancel(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<BatchDocument> {
    const batch = await this.#batches.get(changeableBy(caller), id);
    if (batch.status !== 'cancelling' && !(await this.#batches.move(id, 'cancelling')))
      throw new CodedError('batch_over', `The batch is ${batch.status} and can no longer be cancelled.`);
    return batchDocument(await this.#batches.get(caller.tenant, id));
  }
}
