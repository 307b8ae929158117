import { BullModule, getQueueToken } from '@nestjs/bullmq';
import { Module, type DynamicModule, type Type } from '@nestjs/common';
import type { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { RedisConnections } from '../redis/connections.ts';
import { RedisKeys } from '../redis/keys.ts';
import { queueOptions, type DeliveryOptions, type FairQueues } from './fair-queues.ts';

export interface FairQueuesOptions<Queues> {
  /** What the queues are injected as. */
  readonly as: Type<Queues> & (new (...parts: ConstructorParameters<typeof FairQueues>) => Queues);
  /**
   * Their names; those of the pools come from the catalog, which a role reads before its modules are made.
   */
  readonly names: readonly string[];
  readonly prefix: (keys: RedisKeys, name: string) => string;
  /** The connection that adds to them, by its name among the role's. */
  readonly connection: string;
  readonly deliveries?: DeliveryOptions;
}

/** Queues that a role adds to, registered with Nest, which closes them before the role's connections. */
@Module({})
export class FairQueuesModule {
  static with<Queues>(options: FairQueuesOptions<Queues>): DynamicModule {
    const { as: Queues, names, prefix, connection, deliveries } = options;
    const queues = BullModule.registerQueueAsync(
      ...names.map((name) => ({
        name,
        useFactory: (connections: RedisConnections, keys: RedisKeys) =>
          queueOptions(connections.named(connection), prefix(keys, name)),
        inject: [RedisConnections, RedisKeys],
      })),
    );
    const provider = {
      provide: Queues,
      useFactory: (redis: Redis, keys: RedisKeys, ...opened: Queue[]) => new Queues(redis, keys, opened, deliveries),
      inject: [Redis, RedisKeys, ...names.map((name) => getQueueToken(name))],
    };
    return { module: FairQueuesModule, imports: [queues], providers: [provider], exports: [provider] };
  }
}
