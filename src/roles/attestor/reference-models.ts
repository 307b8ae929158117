import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { startEngines } from '../../core/catalog/start-engines.ts';
import type { EngineChildren } from '../../core/engines/engine-children.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { AttestorConfig } from './attestor-config.ts';

/** A case's recomputation has this long to end after its signal, ms. */
const STOP_MS = 5_000;

/**
 * The attestor's own engines, in child processes without keys: of the models named (comma-separated; `none`
 * for no model), or of all that repeat themselves or can be replayed. Throws CodedError `config_invalid`
 * where a named model is neither, or not there, and those of a model that cannot be loaded.
 */
export function loadReferences(catalog: Catalog, config: AttestorConfig, logger: Logger): Promise<EngineChildren> {
  const models = referenceModels(catalog, config.COUNTERSIGN_RECOMPUTE_MODELS);
  const use = { catalog: config.COUNTERSIGN_CATALOG, areReferences: true, stopMs: STOP_MS, streams: false };
  return startEngines(models, use, logger);
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
