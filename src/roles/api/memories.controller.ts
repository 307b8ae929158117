import { Body, Controller, Delete, Get, Headers, HttpCode, Param, Patch, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { MemoryEntry } from '../../proof/memory/entry.ts';
import { CreatedOnce } from '../../surfaces/admission/created-once.ts';
import { ErasureReceipts } from '../../surfaces/memory/erasure-receipts.ts';
import type { Said } from '../../surfaces/memory/extraction.ts';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import type { Ask } from '../../surfaces/memory/memory-calls.ts';
import { memoryIdAt, newMemoryId } from '../../surfaces/memory/memory-ids.ts';
import { whoseOf } from '../../surfaces/memory/whose-memories.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { Caller, Needs } from './caller.guard.ts';
import { Extractions } from './extractions.ts';
import {
  AddMemories,
  ChangeMemory,
  EraseMemories,
  ListMemories,
  ListReaders,
  OfOwner,
  ReadProfile,
  SearchMemories,
  type AddedMemories,
  type ErasureDocument,
  type ErasureList,
  type ExtractionDocument,
  type FoundMemories,
  type MemoryDocument,
  type MemoryHistory,
  type MemoryList,
  type OwnerList,
  type ProfileDocument,
  type ReaderList,
} from './memories.schemas.ts';
import { askedOnce, parse, parseIdempotencyKey } from './parse.ts';

type Draft = Ask<'add'>['drafts'][number];

/** What people and agents keep here. */
@Controller('/v1')
export class MemoriesController {
  readonly #memory: MemoryClient;
  readonly #created: CreatedOnce;
  readonly #receipts: ErasureReceipts;
  readonly #extractions: Extractions;

  constructor(memory: MemoryClient, created: CreatedOnce, receipts: ErasureReceipts, extractions: Extractions) {
    this.#extractions = extractions;
    this.#memory = memory;
    this.#created = created;
    this.#receipts = receipts;
  }

  @Post('memories')
  @Needs('submit')
  async add(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AddedMemories | ExtractionDocument> {
    const once = askedOnce(parseIdempotencyKey(idempotencyKey), '/v1/memories', body);
    const asked = parse(AddMemories, body);
    const whose = whoseOf(caller, changeableBy(caller), asked.owner);
    if (asked.infer) {
      const { model, type, category, agent, thread, valid_from, valid_to, metadata, reference, rests_on } = asked;
      const about = { category, agent, thread, valid_from, valid_to, metadata, reference, rests_on };
      const wanted = { model, said: saidIn(asked), ...about, ...(type === undefined ? {} : { type }) };
      reply.status(202);
      return this.#extractions.begin(caller, whose, wanted, once);
    }
    const first = await this.#created.idFor(caller.tenant, once, newMemoryId(Date.now()));
    const added = await this.#memory.call('add', { whose, drafts: draftsOf(asked, caller.keyId, first) });
    return { memories: added.map(({ outcome, entry }) => ({ outcome, memory: shown(entry) })) };
  }

  @Get('memories')
  @Needs('read')
  async list(@Caller() caller: ApiCaller, @Query() query: unknown): Promise<MemoryList> {
    const { owner, limit, before, superseded, ...rest } = parse(ListMemories, query);
    const { entries, more } = await this.#memory.call('list', {
      whose: whoseOf(caller, readableBy(caller), owner),
      filter: { ...rest, superseded: superseded === 'true' },
      limit,
      ...(before === undefined ? {} : { before }),
    });
    return { memories: entries.map(shown), next: more ? (entries.at(-1)?.id ?? null) : null };
  }

  @Post('memories/search')
  @HttpCode(200)
  @Needs('read')
  async search(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<FoundMemories> {
    const { owner, ...asked } = parse(SearchMemories, body);
    const found = await this.#memory.call('search', { whose: whoseOf(caller, readableBy(caller), owner), ...asked });
    return { results: found.map(({ entry, ...rest }) => ({ memory: shown(entry), ...rest })) };
  }

  @Post('memories/batch-delete')
  @HttpCode(200)
  @Needs('submit')
  async eraseMany(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<ErasureList> {
    const { owner, ids } = parse(EraseMemories, body);
    return { erasures: await this.#erase(caller, owner, ids) };
  }

  @Get('memories/:memory')
  @Needs('read')
  async get(
    @Caller() caller: ApiCaller,
    @Param('memory') id: string,
    @Query() query: unknown,
  ): Promise<MemoryDocument> {
    return shown(await this.#entry(caller, id, query, 'get'));
  }

  @Get('memories/:memory/history')
  @Needs('read')
  async history(
    @Caller() caller: ApiCaller,
    @Param('memory') id: string,
    @Query() query: unknown,
  ): Promise<MemoryHistory> {
    const entry = await this.#entry(caller, id, query, 'history');
    const { version, updated_at, type, text, category, valid_from, valid_to, metadata, origins, trust } = entry;
    const present = { version, updated_at, type, text, category, valid_from, valid_to, metadata, origins, trust };
    return { id: entry.id, versions: [...entry.history, present] };
  }

  @Patch('memories/:memory')
  @Needs('submit')
  async correct(
    @Caller() caller: ApiCaller,
    @Param('memory') id: string,
    @Query() query: unknown,
    @Body() body: unknown,
  ): Promise<MemoryDocument> {
    const whose = whoseOf(caller, changeableBy(caller), parse(OfOwner, query).owner);
    await this.#memory.call('require', { whose, id });
    const { said_by: kind, from, ...change } = parse(ChangeMemory, body);
    const origin = { kind, from, reference: null, rests_on: [], receipt: null };
    return shown(await this.#memory.call('correct', { whose, id, change, origin }));
  }

  @Delete('memories/:memory')
  @Needs('submit')
  async erase(@Caller() caller: ApiCaller, @Param('memory') id: string, @Query() query: unknown): Promise<ErasureList> {
    return { erasures: await this.#erase(caller, parse(OfOwner, query).owner, [id]) };
  }

  @Get('owners')
  @Needs('read_all')
  async owners(@Caller() { tenant }: ApiCaller): Promise<OwnerList> {
    return { owners: await this.#memory.call('owners', { tenant }) };
  }

  @Get('owners/:owner/profile')
  @Needs('read')
  profile(
    @Caller() caller: ApiCaller,
    @Param('owner') owner: string,
    @Query() query: unknown,
  ): Promise<ProfileDocument> {
    const { limit: lines, of_each: ofEach, ...filter } = parse(ReadProfile, query);
    const whose = whoseOf(caller, readableBy(caller), owner);
    return this.#memory.call('profile', { whose, filter: { ...filter, superseded: false }, lines, ofEach });
  }

  @Get('owners/:owner/readers')
  @Needs('read_all')
  async readers(
    @Caller() caller: ApiCaller,
    @Param('owner') owner: string,
    @Query() query: unknown,
  ): Promise<ReaderList> {
    const { limit, before } = parse(ListReaders, query);
    const whose = whoseOf(caller, caller.tenant, owner);
    const reads = await this.#memory.call('accesses', { whose, limit, ...(before === undefined ? {} : { before }) });
    return { reads, next: reads.length < limit ? null : (reads.at(-1)?.number ?? null) };
  }

  @Delete('owners/:owner')
  @Needs('tenant_admin')
  async eraseOwner(@Caller() caller: ApiCaller, @Param('owner') owner: string): Promise<ErasureDocument> {
    const erased = await this.#memory.call('eraseOwner', { whose: whoseOf(caller, caller.tenant, owner) });
    await this.#receipts.settle(caller.tenant, caller.keyId);
    return this.#receipts.of(erased);
  }

  #entry(caller: ApiCaller, id: string, query: unknown, action: 'get' | 'history'): Promise<MemoryEntry> {
    const whose = whoseOf(caller, readableBy(caller), parse(OfOwner, query).owner);
    return this.#memory.call('get', { whose, id, action });
  }

  /** The receipt is answered once its digest is in the audit log. */
  async #erase(caller: ApiCaller, owner: string | undefined, ids: string[]): Promise<ErasureDocument[]> {
    const erased = await this.#memory.call('erase', { whose: whoseOf(caller, changeableBy(caller), owner), ids });
    await this.#receipts.settle(caller.tenant, caller.keyId);
    return erased.map((one) => this.#receipts.of(one));
  }
}

function shown({ salt: _salt, history: _history, ...rest }: MemoryEntry): MemoryDocument {
  return rest;
}

const KIND_OF = { user: 'user', assistant: 'model', tool: 'tool' } as const;

function saidIn({ text, messages, said_by }: AddMemories): Said[] {
  return (
    messages?.map(({ role, content }) => ({ kind: KIND_OF[role], text: content })) ??
    (text === undefined ? [] : [{ kind: said_by, text }])
  );
}

function draftsOf(asked: AddMemories, source: string, first: string): Draft[] {
  const { messages, type, from, reference, rests_on } = asked;
  const { category, agent, thread, valid_from, valid_to, metadata, supersedes, contradicts } = asked;
  return saidIn(asked).map((one, place) => ({
    id: memoryIdAt(first, place),
    type: type ?? (messages === undefined ? 'semantic' : 'episodic'),
    text: one.text,
    ...{ category, agent, thread, source, valid_from, valid_to, metadata, supersedes, contradicts },
    origin: { kind: one.kind, from, reference, rests_on, receipt: null },
  }));
}
