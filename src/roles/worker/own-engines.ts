import type { CatalogModel } from '../../core/catalog/catalog.ts';
import { enginesApart, startEngines } from '../../core/catalog/start-engines.ts';
import { LoadedEngines } from '../../core/engines/loaded-engines.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { WorkerConfig } from './worker-config.ts';

/** What an engine begins of a prompt in one piece may take this long on a slow machine, ms. */
const STOP_MS = 60_000;

/**
 * The engines, of which those that compute here do so in child processes without keys: in one for each model,
 * where not all have room at once.
 */
export async function loadEngines(
  config: Pick<WorkerConfig, 'COUNTERSIGN_CATALOG' | 'COUNTERSIGN_RESIDENT'>,
  models: readonly CatalogModel[],
  logger: Logger,
): Promise<LoadedEngines> {
  const computing = models.filter(({ computesHere }) => computesHere);
  const use = { catalog: config.COUNTERSIGN_CATALOG, areReferences: false, stopMs: STOP_MS, streams: true };
  const { COUNTERSIGN_RESIDENT: resident = Infinity } = config;
  if (computing.length > resident)
    return LoadedEngines.load(models, logger, enginesApart(computing, use, logger), resident);
  const children = computing.length === 0 ? undefined : await startEngines(computing, use, logger);
  return LoadedEngines.load(models, logger, children);
}

/** How many jobs of a model its engine runs at once. */
export function slotsOf(config: Pick<WorkerConfig, 'COUNTERSIGN_CONCURRENCY'>, { capabilities }: CatalogModel): number {
  return config.COUNTERSIGN_CONCURRENCY ?? capabilities.parallel;
}
