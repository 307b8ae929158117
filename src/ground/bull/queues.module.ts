import { BullModule, getQueueToken } from '@nestjs/bullmq';
import { Module, type DynamicModule, type Type } from '@nestjs/common';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { RedisConnections } from '../redis/connections.ts';
import { RedisKeys } from '../redis/keys.ts';
import { queueOptions } from './queue-options.ts';

/** Opens a queue that was not there when the role started; whoever opens it closes it. */
type OpenQueue = (name: string) => Queue;

export interface QueuesOptions<Queues> {
  /** What the queues are injected as, and how that is made of them. */
  readonly as: Type<Queues>;
  readonly make: (queues: readonly Queue[], redis: Redis, keys: RedisKeys, open: OpenQueue) => Queues;
  /**
   * Their names; those of the pools come from the catalog, which a role reads before its modules are made.
   */
  readonly names: readonly string[];
  readonly prefix: (keys: RedisKeys, name: string) => string;
  /** The connection that adds to them, by its name among the role's. */
  readonly connection: string;
}

/** Queues that a role adds to, registered with Nest, which closes them before the role's connections. */
@Module({})
export class QueuesModule {
  static with<Queues>(options: QueuesOptions<Queues>): DynamicModule {
    const { as, make, names, prefix, connection } = options;
    const queues = BullModule.registerQueueAsync(
      ...names.map((name) => ({
        name,
        useFactory: (connections: RedisConnections, keys: RedisKeys) =>
          queueOptions(connections.named(connection), prefix(keys, name)),
        inject: [RedisConnections, RedisKeys],
      })),
    );
    const provider = {
      provide: as,
      useFactory: (redis: Redis, keys: RedisKeys, connections: RedisConnections, ...opened: Queue[]) => {
        const open = (name: string) => new Queue(name, queueOptions(connections.named(connection), prefix(keys, name)));
        return make(opened, redis, keys, open);
      },
      inject: [Redis, RedisKeys, RedisConnections, ...names.map((name) => getQueueToken(name))],
    };
    return { module: QueuesModule, imports: [queues], providers: [provider], exports: [provider] };
  }
}
