import { Module, type DynamicModule } from '@nestjs/common';
import { Redis } from 'ioredis';
import type { Logger } from '../logging/logger.ts';
import { redisAccess, type Patience, type RedisConfig } from './connection.ts';
import { RedisConnections } from './connections.ts';
import type { DurabilityLevel } from './durability.ts';
import { RedisKeys } from './keys.ts';

/** What a role asks of its Redis. */
export interface RedisNeeds {
  /** The Redis user, unless the configuration names another. */
  readonly user: string;
  readonly durability?: DurabilityLevel;
  /** Its connections by what they are for; the one named `commands` is what `Redis` injects. */
  readonly connections: Readonly<Record<string, Patience>> & { readonly commands: Patience };
}

/**
 * The Redis of a role: its connections, the one for ordinary commands, and the names of its keys. It is
 * global, so that Nest opens it before everything else of the role and closes it after everything else.
 */
@Module({})
export class RedisModule {
  static with(config: RedisConfig, needs: RedisNeeds, logger: Logger): DynamicModule {
    const access = redisAccess(config, needs.user);
    const keys = new RedisKeys(config.COUNTERSIGN_SHARD);
    const providers = [
      {
        provide: RedisConnections,
        useFactory: () => RedisConnections.open(access, keys, needs, needs.connections, logger),
      },
      {
        provide: Redis,
        useFactory: (connections: RedisConnections) => connections.named('commands'),
        inject: [RedisConnections],
      },
      { provide: RedisKeys, useValue: keys },
    ];
    return { global: true, module: RedisModule, providers, exports: providers };
  }
}
