import { openServiceContext, type ServiceContext } from '../../surfaces/service/service-context.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { ApiConfig } from './api-config.ts';
import { Directory } from './directory.ts';
import { EventStreams } from './event-streams.ts';
import { Metrics } from './metrics.ts';

/** The nouns that the controllers call, and how they are ended. */
export interface ApiParts {
  readonly service: ServiceContext;
  readonly streams: EventStreams;
  readonly directory: Directory;
  readonly metrics: Metrics;
  close(): Promise<void>;
}

/** Throws CodedErrors that say what to do. */
export async function openApi(config: ApiConfig, logger: Logger): Promise<ApiParts> {
  const service = await openServiceContext(config, logger);
  const { redis, keys, catalog, keyring } = service;
  const streams = new EventStreams({
    most: config.COUNTERSIGN_MAX_STREAMS,
    maxPerKey: config.COUNTERSIGN_MAX_STREAMS_PER_KEY,
  });
  const directory = new Directory({ redis, keys, catalog, keyring });
  return {
    service,
    streams,
    directory,
    metrics: new Metrics(directory, streams),
    async close() {
      streams.closeAll();
      await service.close();
    },
  };
}
