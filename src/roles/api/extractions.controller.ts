import { Controller, Get, Param, Query } from '@nestjs/common';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import { whoseOf } from '../../surfaces/memory/whose-memories.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { readableBy } from '../../surfaces/tenants/reach.ts';
import { Caller, Needs } from './caller.guard.ts';
import { Extractions } from './extractions.ts';
import { OfOwner, type ExtractionDocument, type MemoryReceipts } from './memories.schemas.ts';
import { parse } from './parse.ts';

/** Memories that jobs make, and the receipts of these jobs. */
@Controller('/v1')
export class ExtractionsController {
  readonly #extractions: Extractions;
  readonly #memory: MemoryClient;

  constructor(extractions: Extractions, memory: MemoryClient) {
    this.#extractions = extractions;
    this.#memory = memory;
  }

  @Get('extractions/:job')
  @Needs('read')
  get(@Caller() caller: ApiCaller, @Param('job') id: string): Promise<ExtractionDocument> {
    return this.#extractions.get(caller, id);
  }

  @Get('memories/:memory/receipts')
  @Needs('read')
  async receipts(
    @Caller() caller: ApiCaller,
    @Param('memory') id: string,
    @Query() query: unknown,
  ): Promise<MemoryReceipts> {
    const whose = whoseOf(caller, readableBy(caller), parse(OfOwner, query).owner);
    const kept = await this.#memory.call('receipts', { whose, id });
    return { receipts: kept.map(({ job, sha256, text: receipt }) => ({ job, sha256, receipt })) };
  }
}
