import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { LoadedEngines } from '../../core/engines/loaded-engines.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';

/**
 * The attestor's own engines: of the models named (comma-separated; `none` for no model), or of all that
 * repeat themselves or can be replayed. Throws CodedError `config_invalid` where a named model is neither, or
 * not there.
 */
export async function loadReferences(catalog: Catalog, named: string | undefined): Promise<LoadedEngines> {
  const engines = await LoadedEngines.load(wantedModels(catalog, named).map((model) => model.reference()));
  const useless = engines.all().find((engine) => engine.repeatable === 'no' && engine.replay === undefined);
  if (useless !== undefined)
    throw new CodedError(
      'config_invalid',
      `COUNTERSIGN_RECOMPUTE_MODELS names ${useless.model.name}, which neither repeats itself nor can be replayed.`,
    );
  return engines;
}

function wantedModels(catalog: Catalog, named: string | undefined): CatalogModel[] {
  if (named === 'none') return [];
  if (named === undefined)
    return catalog.all().filter(({ capabilities: { repeats, replay } }) => repeats !== 'no' || replay !== undefined);
  return named.split(',').map((part) => {
    const model = catalog.get(part.trim());
    if (model !== undefined) return model;
    throw new CodedError(
      'config_invalid',
      `COUNTERSIGN_RECOMPUTE_MODELS names ${part.trim()}, which the catalog does not have.`,
    );
  });
}
