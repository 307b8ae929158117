import { Readable } from 'node:stream';
import { Body, Controller, Get, HttpCode, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { z } from 'zod';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { MemoryEntry, MemoryTombstone } from '../../proof/memory/entry.ts';
import { MemoryId } from '../../proof/receipts/fields.ts';
import { ImportedMemory } from '../../surfaces/memory-exchange/imported.ts';
import { MemoryBundles } from '../../surfaces/memory/memory-bundles.ts';
import type { Whose } from '../../surfaces/memory/memory-calls.ts';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import { newMemoryId } from '../../surfaces/memory/memory-ids.ts';
import { whoseOf } from '../../surfaces/memory/whose-memories.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { changeableBy, readableBy } from '../../surfaces/tenants/reach.ts';
import { Caller, Needs } from './caller.guard.ts';
import { ExportMemories, ImportMemories, type ImportedMemories } from './memories.schemas.ts';
import { parse } from './parse.ts';

/** Memories as they are carried from one instance to another. */
@Controller('/v1/memories')
export class MemoryBundlesController {
  readonly #memory: MemoryClient;
  readonly #bundles: MemoryBundles;
  readonly #keys: ApiKeys;

  constructor(memory: MemoryClient, bundles: MemoryBundles, keys: ApiKeys) {
    this.#keys = keys;
    this.#memory = memory;
    this.#bundles = bundles;
  }

  @Get('export')
  @Needs('read')
  async export(@Caller() caller: ApiCaller, @Query() query: unknown, @Res() reply: FastifyReply): Promise<void> {
    const { owner, from_byte } = parse(ExportMemories, query);
    const bundle = this.#bundles.export(whoseOf(caller, readableBy(caller), owner), from_byte);
    // The first piece is asked for here, so that a memory that does not answer is an error and no torn file.
    const first = await bundle.next();
    const pieces = async function* () {
      if (first.done !== true) yield first.value;
      yield* bundle;
    };
    await reply
      .type('application/jsonl; charset=utf-8')
      .header('content-disposition', 'attachment; filename="memories.jsonl"')
      .send(Readable.from(pieces()));
  }

  @Post('import')
  @HttpCode(200)
  @Needs('submit')
  async import(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<ImportedMemories> {
    const { owner, dry_run: dry, entries, tombstones, memories } = parse(ImportMemories, body);
    const whose = whoseOf(caller, changeableBy(caller), owner);
    return {
      // Tombstones first, so that nothing that was taken away comes back with the same request.
      tombstones: await this.#bury(whose, tombstones, dry),
      entries: await this.#put(whose, entries, dry),
      memories: await this.#add(whose, memories, dry, caller.keyId),
    };
  }

  async #put(whose: Whose, given: readonly object[], dry: boolean): Promise<ImportedMemories['entries']> {
    return eachRead(given, MemoryEntry, async (entries) => {
      const others = await this.#othersAmong(whose, entries);
      const mayBe = entries.filter(({ source }) => source === null || !others.has(source));
      const outcomes = mayBe.length === 0 ? [] : await this.#memory.call('putEntries', { whose, entries: mayBe, dry });
      const outcomeOf = new Map(mayBe.map((entry, at) => [entry, outcomes[at]]));
      return entries.map((entry) => ({ id: entry.id, outcome: outcomeOf.get(entry) ?? 'conflict' }));
    });
  }

  /**
   * The API keys of others that entries say they were written by. Whoever reaches what its own keys made must
   * not write what another's key reads as its own; keys of other instances are nobody's here.
   */
  async #othersAmong({ sources }: Whose, entries: readonly MemoryEntry[]): Promise<ReadonlySet<string>> {
    if (sources === null) return new Set();
    const named = new Set(
      entries.flatMap(({ source }) => (source === null || sources.includes(source) ? [] : [source])),
    );
    return this.#keys.among([...named]);
  }

  async #bury(whose: Whose, given: readonly object[], dry: boolean): Promise<ImportedMemories['tombstones']> {
    return eachRead(given, MemoryTombstone, async (tombstones) => {
      const outcomes = await this.#memory.call('buryMemories', { whose, tombstones, dry });
      return tombstones.map(({ id }, at) => ({ id, outcome: outcomes[at] ?? 'conflict' }));
    });
  }

  async #add(
    whose: Whose,
    given: readonly object[],
    dry: boolean,
    source: string,
  ): Promise<ImportedMemories['memories']> {
    return eachRead<ImportedMemory, ImportedMemories['memories'][number]>(given, ImportedMemory, async (memories) => {
      if (dry) return memories.map(() => ({ id: null, outcome: 'possible' }));
      const drafts = memories.map(({ from, reference, ...memory }) => ({
        ...memory,
        ...{ id: newMemoryId(Date.now()), source, supersedes: [], contradicts: [] },
        origin: { kind: 'import' as const, from, reference, rests_on: [], receipt: null },
      }));
      const added = await this.#memory.call('add', { whose, drafts });
      return added.map(({ outcome, entry }) => ({ id: entry.id, outcome }));
    });
  }
}

interface Refusal {
  readonly id: string | null;
  readonly outcome: 'refused';
  readonly why: string;
}

/** Calls `use` with those that are as the schema says, and answers for all of them, in their order. */
async function eachRead<Item, Outcome>(
  given: readonly object[],
  schema: z.ZodType<Item>,
  use: (items: Item[]) => Promise<Outcome[]>,
): Promise<(Outcome | Refusal)[]> {
  const read = given.map((one) => readOne(one, schema));
  const items = read.flatMap((one) => ('item' in one ? [one.item] : []));
  const outcomes = (items.length === 0 ? [] : await use(items)).values();
  return read.map((one) => {
    if ('refused' in one) return one.refused;
    const outcome = outcomes.next();
    if (outcome.done === true) throw new Error('The memory answered for fewer things than it was asked.');
    return outcome.value;
  });
}

function readOne<Item>(value: object, schema: z.ZodType<Item>): { item: Item } | { refused: Refusal } {
  const refused = (why: string): { refused: Refusal } => {
    const id = 'id' in value ? MemoryId.safeParse(value.id).data : undefined;
    return { refused: { id: id ?? null, outcome: 'refused', why } };
  };
  const read = schema.safeParse(value);
  if (!read.success) {
    const [issue] = read.error.issues;
    return refused(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'it is not as the format says'}`);
  }
  try {
    canonicalJson(read.data);
  } catch (error) {
    return refused(messageOf(error));
  }
  return { item: read.data };
}
