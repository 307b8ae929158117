import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { z } from 'zod';
import { batchDocument } from '../../surfaces/batches/batch-document.ts';
import { BatchFiles } from '../../surfaces/batches/batch-files.store.ts';
import { Batches } from '../../surfaces/batches/batch.store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { BATCH_ENDPOINTS } from '../../surfaces/batches/batch-request.ts';
import { parseRequest } from '../../surfaces/openai/requests.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { Caller, Needs } from './caller.guard.ts';

export const CreateBatch = z.strictObject({
  input_file_id: z.string().max(64),
  endpoint: z.enum(BATCH_ENDPOINTS),
  completion_window: z.literal('24h'),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((metadata) => Object.keys(metadata).length <= 16, { message: 'at most 16 pairs' })
    .nullish(),
});
export const ListBatches = z.strictObject({
  after: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
});

/** Batches in OpenAI's shape. The courier runs them. */
@Controller('/v1/batches')
export class BatchesController {
  readonly #batches: Batches;
  readonly #files: BatchFiles;

  constructor(batches: Batches, files: BatchFiles) {
    this.#batches = batches;
    this.#files = files;
  }

  @Post()
  @HttpCode(200)
  @Needs('submit')
  async create(@Caller() caller: ApiCaller, @Body() body: unknown) {
    const { input_file_id, endpoint, metadata } = parseRequest(CreateBatch, body);
    const file = await this.#files.get(caller.tenant, input_file_id);
    if (file.purpose !== 'batch')
      throw new CodedError('request_invalid', 'input_file_id: this file was not uploaded for a batch.', {
        param: 'input_file_id',
      });
    return batchDocument(
      await this.#batches.create({
        tenant: caller.tenant,
        keyId: caller.keyId,
        endpoint,
        inputFile: file.id,
        inputSha256: file.sha256,
        metadata: metadata ?? {},
      }),
    );
  }

  @Get()
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown) {
    const { batches, hasMore } = await this.#batches.list(caller.tenant, parseRequest(ListBatches, query));
    const data = batches.map(batchDocument);
    return { object: 'list', data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null, has_more: hasMore };
  }

  @Get(':id')
  @Needs('read')
  async get(@Caller() caller: ApiCaller, @Param('id') id: string) {
    return batchDocument(await this.#batches.get(caller.tenant, id));
  }

  @Post(':id/cancel')
  @HttpCode(200)
  @Needs('submit')
  async cancel(@Caller() caller: ApiCaller, @Param('id') id: string) {
    const batch = await this.#batches.get(caller.tenant, id);
    if (batch.status !== 'cancelling' && !(await this.#batches.move(id, 'cancelling')))
      throw new CodedError('batch_over', `The batch is ${batch.status} and can no longer be cancelled.`);
    return batchDocument(await this.#batches.get(caller.tenant, id));
  }
}
