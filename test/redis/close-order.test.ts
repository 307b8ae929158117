import { BullModule, BullRegistrar, OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { Module, type BeforeApplicationShutdown, type INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { PoolQueues } from '../../src/ground/bull/pool-queues.ts';
import { QueuesModule } from '../../src/ground/bull/queues.module.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { RedisConnections } from '../../src/ground/redis/connections.ts';
import { RedisModule } from '../../src/ground/redis/redis.module.ts';
import { redisOptions } from '../../src/ground/redis/connection.ts';
import { PASSWORD, TestRedis } from '../support/redis.ts';
import { until } from '../support/pipeline.ts';

const NAME = 'default.noop';

let server: TestRedis;
beforeAll(async () => {
  server = await TestRedis.start();
  writeFileSync(join(server.folder, 'redis.password'), PASSWORD, { mode: 0o600 });
});
afterAll(async () => server[Symbol.asyncDispose]());

/** What happened, in order, with the state of the commands' connection at that moment. */
class Diary {
  readonly lines: string[] = [];
  readonly #connections: RedisConnections;

  constructor(connections: RedisConnections) {
    this.#connections = connections;
  }

  note(what: string): void {
    this.lines.push(`${what}: ${this.#connections.named('commands').status}`);
  }
}

class Consumer extends WorkerHost {
  readonly #diary: Diary;
  readonly taken: string[] = [];

  constructor(diary: Diary) {
    super();
    this.#diary = diary;
  }

  process(job: { id?: string | undefined }): Promise<void> {
    this.taken.push(job.id ?? '');
    return Promise.resolve();
  }

  @OnWorkerEvent('closed')
  closed(): void {
    this.#diary.note('consumer closed');
  }
}
Processor({ name: NAME })(Consumer);

class Lifecycle implements BeforeApplicationShutdown {
  readonly #diary: Diary;

  constructor(diary: Diary) {
    this.#diary = diary;
  }

  beforeApplicationShutdown(): void {
    this.#diary.note('role told to end');
  }
}

@Module({})
class Role {}

/** A role as ours are put together: Redis, queues, a consumer that is registered by hand, a lifecycle. */
function openRole(): Promise<INestApplicationContext> {
  const config = {
    COUNTERSIGN_REDIS_URL: server.url,
    COUNTERSIGN_REDIS_USER: 'admin',
    COUNTERSIGN_REDIS_PASSWORD_FILE: join(server.folder, 'redis.password'),
    COUNTERSIGN_SHARD: 'cs',
  };
  const needs = { user: 'admin', connections: { commands: 'patient', queues: 'patient' } } as const;
  return NestFactory.createApplicationContext(
    {
      module: Role,
      imports: [
        RedisModule.with(config, needs, createLogger('test', 'error')),
        BullModule.forRoot({
          connection: redisOptions(server.access('admin'), 'patient'),
          prefix: server.keys.poolQueues('default'),
          extraOptions: { manualRegistration: true },
        }),
        QueuesModule.with({
          as: PoolQueues,
          make: (queues) => new PoolQueues(queues),
          names: [NAME],
          prefix: (keys) => keys.poolQueues('default'),
          connection: 'queues',
        }),
      ],
      providers: [
        {
          provide: Diary,
          useFactory: (connections: RedisConnections) => new Diary(connections),
          inject: [RedisConnections],
        },
        { provide: Consumer, useFactory: (diary: Diary) => new Consumer(diary), inject: [Diary] },
        { provide: Lifecycle, useFactory: (diary: Diary) => new Lifecycle(diary), inject: [Diary] },
      ],
    },
    { logger: ['error'], abortOnError: false },
  );
}

describe('a role', () => {
  test('takes no delivery before its consumers are registered, and ends with its connections last', async () => {
    const app = await openRole();
    const diary = app.get(Diary);
    const consumer = app.get(Consumer);
    await app.get(PoolQueues).add(NAME, [['d1']]);
    const queue = new Queue(NAME, { connection: server.client(), prefix: server.keys.poolQueues('default') });
    expect(await queue.getWaitingCount()).toBe(1);
    expect(consumer.taken).toEqual([]);

    app.get(BullRegistrar).register();
    await until(() => Promise.resolve(consumer.taken.length === 1));
    await app.close();
    await queue.close();

    expect(diary.lines).toEqual(['role told to end: ready', 'consumer closed: ready']);
    for (const name of ['commands', 'queues'])
      await until(() => app.get(RedisConnections).named(name).status === 'end');
  });
});
