import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { z } from 'zod';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { FEATURES } from '../../proof/tasks/task-input.ts';
import { Task } from '../../proof/receipts/fields.ts';

const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens');
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hexadecimal digits');

const common = { name: Name, pool: Name, tasks: z.array(Task).min(1), sha256: Sha256 };

/** A model that the operator offers. Its digest comes from here and from no worker's announcement. */
export const CatalogModel = z.discriminatedUnion('engine', [
  z.strictObject({
    ...common,
    engine: z.literal('llama'),
    /** GGUF file; relative to the catalog. */
    file: z.string().min(1),
    contextTokens: z.number().int().min(16).max(1_048_576).default(256),
    parallel: z.number().int().min(1).max(64).default(4),
    threads: z.number().int().min(1).max(256).default(1),
    gpu: z.boolean().default(false),
  }),
  z.strictObject({ ...common, engine: z.literal('embed') }),
  z.strictObject({
    ...common,
    engine: z.literal('openai'),
    /** Address of the server up to and without `/v1`. */
    baseUrl: z.url({ protocol: /^https?$/ }),
    remoteModel: z.string().min(1),
    apiKeyFile: z.string().optional(),
    timeoutMs: z.number().int().min(100).max(3_600_000).default(120_000),
    parallel: z.number().int().min(1).max(1_024).default(16),
    /** Where both servers tell tokens as vLLM does: the attestors' own server of the same model. */
    replay: z
      .strictObject({
        baseUrl: z.url({ protocol: /^https?$/ }),
        remoteModel: z.string().min(1).optional(),
        apiKeyFile: z.string().optional(),
        /** Ids of the tokens that end an answer. */
        endTokens: z.array(z.number().int().min(0)).min(1).max(16),
      })
      .optional(),
    /** What the server can do beyond text; asked of another model, it is refused at admission. */
    features: z.array(z.enum(FEATURES)).default([...FEATURES]),
  }),
  z.strictObject({ ...common, engine: z.literal('noop'), parallel: z.number().int().min(1).max(1_024).default(64) }),
]);
export type CatalogModel = z.infer<typeof CatalogModel>;

const CatalogFile = z.strictObject({ version: z.literal(1), models: z.array(CatalogModel).min(1).max(200) });

/** The models of the operator's catalog file, by name. */
export class Catalog {
  readonly #models: ReadonlyMap<string, CatalogModel>;

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
}

/** The model as an attestor loads it: on a server of its own, where there is one. */
export function referenceOf(model: CatalogModel): CatalogModel {
  if (model.engine !== 'openai' || model.replay === undefined) return model;
  const { baseUrl, remoteModel = model.remoteModel, apiKeyFile } = model.replay;
  return { ...model, baseUrl, remoteModel, apiKeyFile };
}

/** Reads a catalog file. Throws CodedError `catalog_invalid` with every mistake. */
export function readCatalog(path: string): Catalog {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new CodedError('catalog_invalid', `${path} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
  }
  const parsed = CatalogFile.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'file'}: ${issue.message}`);
    throw new CodedError('catalog_invalid', `${path}: ${problems.join('; ')}`);
  }
  const echo = parsed.data.models.find(
    (model) =>
      model.engine === 'openai' &&
      model.replay !== undefined &&
      originOf(model.replay.baseUrl) === originOf(model.baseUrl),
  );
  if (echo !== undefined)
    throw new CodedError(
      'catalog_invalid',
      `${path}: ${echo.name} would be judged by the very server that answered; replay.baseUrl must be another.`,
    );
  const names = parsed.data.models.map((model) => model.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new CodedError('catalog_invalid', `${path} names the model ${twice} twice.`);
  return new Catalog(
    parsed.data.models.map((model) => ('file' in model ? { ...model, file: beside(path, model.file) } : model)),
  );
}

const originOf = (url: string) => new URL(url).origin;

function beside(catalogPath: string, file: string): string {
  return isAbsolute(file) ? file : resolve(dirname(catalogPath), file);
}
