import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { ChildEngines } from '../../core/engines/child-engines.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { AttestorConfig } from './attestor-config.ts';

/** What the child gets of this environment, where it is set: what loading a model needs, and no secret. */
const INHERITED = ['PATH', 'HOME', 'LD_LIBRARY_PATH', 'CUDA_VISIBLE_DEVICES', 'TMPDIR'] as const;

/**
 * The attestor's own engines, in a child process without keys: of the models named (comma-separated; `none`
 * for no model), or of all that repeat themselves or can be replayed. Throws CodedError `config_invalid`
 * where a named model is neither, or not there, and those of a model that cannot be loaded.
 */
export function loadReferences(catalog: Catalog, config: AttestorConfig, logger: Logger): Promise<ChildEngines> {
  const models = referenceModels(catalog, config.COUNTERSIGN_RECOMPUTE_MODELS);
  const inherited = INHERITED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return ChildEngines.start({
    program: new URL('./recompute-child.js', import.meta.url),
    env: {
      ...Object.fromEntries(inherited),
      COUNTERSIGN_CATALOG: config.COUNTERSIGN_CATALOG,
      COUNTERSIGN_RECOMPUTE_MODELS: models.map(({ name }) => name).join(','),
    },
    models,
    logger,
  });
}

/** The models that an attestor loads, as it loads them. */
export function referenceModels(catalog: Catalog, named: string | undefined): CatalogModel[] {
  if (named === 'none') return [];
  if (named === undefined)
    return catalog
      .all()
      .filter(isUseful)
      .map((model) => model.reference());
  return named.split(',').map((part) => {
    const model = catalog.get(part.trim());
    if (model === undefined)
      throw new CodedError(
        'config_invalid',
        `COUNTERSIGN_RECOMPUTE_MODELS names ${part.trim()}, which the catalog does not have.`,
      );
    if (isUseful(model)) return model.reference();
    throw new CodedError(
      'config_invalid',
      `COUNTERSIGN_RECOMPUTE_MODELS names ${model.name}, which neither repeats itself nor can be replayed.`,
    );
  });
}

function isUseful({ capabilities: { repeats, replay } }: CatalogModel): boolean {
  return repeats !== 'no' || replay !== undefined;
}
