import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { z } from 'zod';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { poolOfQueue, poolTag, queueName } from '../../ground/redis/keys.ts';
import type { EngineModel } from '../engines/engine-kind.ts';
import { ENGINES, Engines } from '../engines/engines.ts';

/** A model that the operator offers. Its digest comes from here and from no worker's announcement. */
export type CatalogModel = EngineModel;
export const CatalogModel = new Engines(ENGINES).model;

/**
 * The models of the operator's catalog file, by name; those that `follow` took last. Pools and queues that it
 * had once stay: the jobs of a model that has gone are worked on to their end.
 */
export class Catalog {
  #models: ReadonlyMap<string, CatalogModel>;
  readonly #queues: Set<string>;

  constructor(models: readonly CatalogModel[]) {
    this.#models = byName(models);
    this.#queues = new Set(models.map(queueOf));
  }

  get(name: string): CatalogModel | undefined {
    return this.#models.get(name);
  }

  all(): CatalogModel[] {
    return [...this.#models.values()];
  }

  pools(): string[] {
    return [...new Set([...this.#queues].map(poolOfQueue))];
  }

  /** The names of the pools' queues, one for each model that there is or was. */
  queues(): string[] {
    return [...this.#queues];
  }

  /** Throws CodedError `catalog_invalid` where only a role that starts anew could go by the other catalog. */
  requireFollows(other: Catalog): void {
    const pools = this.pools();
    const coming = other.pools().filter((pool) => !pools.includes(pool));
    if (coming.length > 0)
      throw new CodedError(
        'catalog_invalid',
        `A pool that comes has a Redis user, a stream and a folder of its own (${coming.join(', ').slice(0, 200)}).`,
        { hint: 'restart the roles for it, one after the other' },
      );
    const moved = other.all().filter(({ name, pool }) => (this.#poolOf(name) ?? pool) !== pool);
    if (moved.length > 0)
      throw new CodedError(
        'catalog_invalid',
        `A model that changes its pool would leave its jobs behind (${moved
          .map(({ name }) => name)
          .join(', ')
          .slice(0, 200)}).`,
        { hint: 'offer it in the other pool under another name' },
      );
  }

  /** Goes by what the other catalog says from now on: what it does not name is gone. As `requireFollows`. */
  follow(other: Catalog): void {
    this.#take(other, other.all());
  }

  /**
   * As `follow`, for whoever still has to know the models that have gone, by what was said of them last: jobs
   * for them are open.
   */
  followAndRemember(other: Catalog): void {
    this.#take(other, [...this.all(), ...other.all()]);
  }

  #take(other: Catalog, models: readonly CatalogModel[]): void {
    this.requireFollows(other);
    this.#models = byName(models);
    for (const queue of other.#queues) this.#queues.add(queue);
  }

  /** The pool of a model that there is or was. */
  #poolOf(model: string): string | undefined {
    return this.pools().find((pool) => this.#queues.has(queueName(pool, model)));
  }
}

const queueOf = ({ pool, name }: CatalogModel): string => queueName(pool, name);

/** The last of a name counts. */
const byName = (models: readonly CatalogModel[]) => new Map(models.map((model) => [model.name, model]));

/** Reads a catalog file. Throws CodedError `catalog_invalid` with every mistake. */
export function readCatalog(path: string, engines: Engines = new Engines(ENGINES)): Catalog {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new CodedError('catalog_invalid', `${path} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
  }
  const parsed = z
    .strictObject({ version: z.literal(1), models: z.array(engines.model).min(1).max(200) })
    .safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
    throw new CodedError('catalog_invalid', `${path}: ${problems.join('; ')}`);
  }
  const { models } = parsed.data;
  const problem = models.find((model) => model.problem !== undefined)?.problem;
  if (problem !== undefined) throw new CodedError('catalog_invalid', `${path}: ${problem}`);
  const names = models.map((model) => model.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new CodedError('catalog_invalid', `${path} names the model ${twice} twice.`);
  const pools = [...new Set(models.map(({ pool }) => pool))];
  const alike = pools.find((pool, at) => pools.slice(0, at).some((other) => poolTag(other) === poolTag(pool)));
  if (alike !== undefined)
    throw new CodedError(
      'catalog_invalid',
      `${path}: the pool ${alike} has the same tag as another; give it another name.`,
    );
  return new Catalog(models.map((model) => model.located((file) => beside(path, file))));
}

function beside(catalogPath: string, file: string): string {
  return isAbsolute(file) ? file : resolve(dirname(catalogPath), file);
}
