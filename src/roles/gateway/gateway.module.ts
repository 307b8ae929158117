import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { Redis } from 'ioredis';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { QueueHeads } from '../../core/execution/queue-heads.ts';
import { Deliveries } from '../../core/leasing/deliveries.processor.ts';
import { EnrolmentAsks } from '../../core/leasing/enrolment-ask.store.ts';
import { LeaseBlobs } from '../../core/leasing/lease-blobs.ts';
import { Leases } from '../../core/leasing/leases.ts';
import { Sessions } from '../../core/leasing/session.store.ts';
import { Standings } from '../../core/leasing/standings.ts';
import { StopFeed } from '../../core/leasing/stop-feed.ts';
import { uploadParts } from '../../core/leasing/upload-parts.ts';
import { Uploads } from '../../core/leasing/uploads.ts';
import { Storage } from '../../ground/blobs/storage.ts';
import { PoolQueues } from '../../ground/bull/pool-queues.ts';
import { QueuesModule } from '../../ground/bull/queues.module.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { userName } from '../../ground/redis/acl.ts';
import { redisAccess } from '../../ground/redis/connection.ts';
import { RedisConnections } from '../../ground/redis/connections.ts';
import { RedisKeys, queueName } from '../../ground/redis/keys.ts';
import { RedisModule } from '../../ground/redis/redis.module.ts';
import type { GatewayConfig } from './gateway-config.ts';
import { EnrolmentController } from './enrolment.controller.ts';
import { GatewayFacts } from './gateway-facts.ts';
import { GatewayLifecycle } from './gateway-lifecycle.ts';
import { HealthController } from './health.controller.ts';
import { LeasesController } from './leases.controller.ts';
import { PresenceController } from './presence.controller.ts';
import { ProblemFilter } from './problem.filter.ts';
import { PushedStops } from './pushed-stops.ts';
import { RequestGate } from './request-gate.ts';
import { SessionsController } from './sessions.controller.ts';

/** The gateway of a pool: what its workers far away may do, in the name of each. */
@Module({
  controllers: [HealthController, EnrolmentController, SessionsController, PresenceController, LeasesController],
})
export class GatewayModule {
  /** Reads the gateway's files. Throws CodedErrors that say what to do. */
  static with(config: GatewayConfig, logger: Logger): DynamicModule {
    const { COUNTERSIGN_POOL: pool } = config;
    const models = modelsOf(config);
    return {
      module: GatewayModule,
      imports: [
        RedisModule.with(
          config,
          { user: userName({ role: 'worker', pool }), connections: { commands: 'prompt', listening: 'patient' } },
          logger,
        ),
        // A gateway adds only what it gives back.
        QueuesModule.with({
          as: PoolQueues,
          make: (queues) => new PoolQueues(queues),
          names: models.map((name) => queueName(pool, name)),
          prefix: (keys) => keys.poolQueues(pool),
          connection: 'commands',
        }),
      ],
      providers: [
        { provide: GatewayFacts, useValue: new GatewayFacts(pool, config.COUNTERSIGN_LEASE_MS) },
        ...leaseProviders(config, models, logger),
        ...gateProviders(config, logger),
        GatewayLifecycle,
        { provide: APP_FILTER, useFactory: () => new ProblemFilter(logger) },
      ],
    };
  }
}

function modelsOf({ COUNTERSIGN_CATALOG: catalog, COUNTERSIGN_POOL: pool }: GatewayConfig): string[] {
  const models = readCatalog(catalog)
    .all()
    .filter((model) => model.pool === pool);
  if (models.length === 0) throw new CodedError('config_invalid', `The catalog has no model in the pool ${pool}.`);
  return models.map(({ name }) => name);
}

/** What is leased, and what is said of it. */
function leaseProviders(config: GatewayConfig, models: readonly string[], logger: Logger): Provider[] {
  const { COUNTERSIGN_POOL: pool, COUNTERSIGN_LEASE_MS: leaseMs, COUNTERSIGN_BLOBS: place } = config;
  const storage = new Storage(config);
  const blobs = storage.blobs(place);
  return [
    {
      provide: Leases,
      useFactory: (redis: Redis, keys: RedisKeys) => new Leases({ redis, keys, pool, leaseMs }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Deliveries,
      useFactory: (redis: Redis, keys: RedisKeys, queues: PoolQueues, leases: Leases) =>
        new Deliveries({
          redis,
          access: redisAccess(config, userName({ role: 'worker', pool })),
          prefix: keys.poolQueues(pool),
          pool,
          models,
          queues,
          leases,
          logger,
        }),
      inject: [Redis, RedisKeys, PoolQueues, Leases],
    },
    {
      provide: QueueHeads,
      useFactory: (redis: Redis, keys: RedisKeys) => new QueueHeads(redis, keys, pool),
      inject: [Redis, RedisKeys],
    },
    {
      provide: LeaseBlobs,
      useFactory: (redis: Redis, keys: RedisKeys, leases: Leases) =>
        new LeaseBlobs({ redis, keys, leases, blobs, uploads: new Uploads(uploadParts(storage, place), blobs) }),
      inject: [Redis, RedisKeys, Leases],
    },
  ];
}

/** Who may ask, and what is told to them. */
function gateProviders(config: GatewayConfig, logger: Logger): Provider[] {
  const { COUNTERSIGN_POOL: pool } = config;
  return [
    {
      provide: Sessions,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new Sessions({ redis, keys, pool, lifeMs: config.COUNTERSIGN_SESSION_MS }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: RequestGate,
      useFactory: (sessions: Sessions) =>
        new RequestGate({
          sessions,
          workerRate: config.COUNTERSIGN_WORKER_RATE,
          addressRate: config.COUNTERSIGN_ADDRESS_RATE,
        }),
      inject: [Sessions],
    },
    {
      provide: Standings,
      useFactory: (redis: Redis, keys: RedisKeys) => new Standings(redis, keys, pool),
      inject: [Redis, RedisKeys],
    },
    {
      provide: StopFeed,
      useFactory: (redis: Redis, keys: RedisKeys, connections: RedisConnections) =>
        new StopFeed({ redis, listening: connections.named('listening'), keys, pool, logger }),
      inject: [Redis, RedisKeys, RedisConnections],
    },
    {
      provide: EnrolmentAsks,
      useFactory: (redis: Redis, keys: RedisKeys) => new EnrolmentAsks(redis, keys, pool),
      inject: [Redis, RedisKeys],
    },
    { provide: PushedStops, useFactory: (feed: StopFeed) => new PushedStops(feed), inject: [StopFeed] },
  ];
}
