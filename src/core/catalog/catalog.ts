import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { z } from 'zod';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { poolTag, queueName } from '../../ground/redis/keys.ts';
import type { EngineModel } from '../engines/engine-kind.ts';
import { ENGINES, Engines } from '../engines/engines.ts';

/** A model that the operator offers. Its digest comes from here and from no worker's announcement. */
export type CatalogModel = EngineModel;
export const CatalogModel = new Engines(ENGINES).model;

/** The models of the operator's catalog file, by name; those that `follow` took last. */
export class Catalog {
  #models: ReadonlyMap<string, CatalogModel>;

  constructor(models: readonly CatalogModel[]) {
    this.#models = new Map(models.map((model) => [model.name, model]));
  }

  get(name: string): CatalogModel | undefined {
    return this.#models.get(name);
  }

  all(): CatalogModel[] {
    return [...this.#models.values()];
  }

  pools(): string[] {
    return [...new Set(this.all().map((model) => model.pool))];
  }

  /** The names of the pools' queues, one for each model. */
  queues(): string[] {
    return this.all().map((model) => queueName(model.pool, model.name));
  }

  /** Throws CodedError `catalog_invalid` where only a role that starts anew could go by the other catalog. */
  requireFollows(other: Catalog): void {
    const [before, after] = [this.queues(), other.queues()];
    const changed = [
      ...before.filter((queue) => !after.includes(queue)),
      ...after.filter((queue) => !before.includes(queue)),
    ];
    if (changed.length > 0)
      throw new CodedError(
        'catalog_invalid',
        `Models that come, go or change their pool have queues of their own (${changed.join(', ').slice(0, 200)}).`,
        { hint: 'restart the roles for them, one after the other' },
      );
  }

  /** Goes by what the other catalog says of the same models from now on. Throws as `requireFollows`. */
  follow(other: Catalog): void {
    this.requireFollows(other);
    this.#models = other.#models;
  }
}

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
