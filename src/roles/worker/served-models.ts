import { readCatalog, type CatalogModel } from '../../core/catalog/catalog.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { WorkerConfig } from './worker-config.ts';

/**
 * The models that this worker serves: those of its pool, or the named ones of them. Throws CodedError
 * `config_invalid`.
 */
export function servedModels(
  config: Pick<WorkerConfig, 'COUNTERSIGN_POOL' | 'COUNTERSIGN_MODELS' | 'COUNTERSIGN_CATALOG'>,
): CatalogModel[] {
  const { COUNTERSIGN_POOL: pool, COUNTERSIGN_MODELS: wanted } = config;
  const inPool = readCatalog(config.COUNTERSIGN_CATALOG)
    .all()
    .filter((model) => model.pool === pool);
  const names = wanted?.split(',').map((name) => name.trim());
  const unknown = names?.find((name) => !inPool.some((model) => model.name === name));
  if (unknown !== undefined)
    throw new CodedError(
      'config_invalid',
      `COUNTERSIGN_MODELS names ${unknown}, which the catalog does not have in the pool ${pool}.`,
    );
  const models = names === undefined ? inPool : inPool.filter((model) => names.includes(model.name));
  if (models.length === 0) throw new CodedError('config_invalid', `The catalog has no model in the pool ${pool}.`);
  return models;
}
