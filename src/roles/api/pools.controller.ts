import { Body, Controller, Get, HttpCode, Param, Patch, Post } from '@nestjs/common';
import { Pools, type Pool } from '../../core/backlog/pool.store.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { Caller, Needs, RefusesIdempotencyKey } from './caller.guard.ts';
import { parse } from './parse.ts';
import { ChangePoolState, type PoolStateDocument, type PoolStateList } from './pools.schemas.ts';

/** The pools: paused, drained and emptied by the operator of the installation. */
@Controller('/v1/admin/pools')
export class PoolsController {
  readonly #pools: Pools;

  constructor(pools: Pools) {
    this.#pools = pools;
  }

  @Get()
  @Needs('operator')
  async list(): Promise<PoolStateList> {
    return { pools: (await this.#pools.list()).map(poolDocument) };
  }

  @Get(':pool')
  @Needs('operator')
  async get(@Param('pool') name: string): Promise<PoolStateDocument> {
    return poolDocument(await this.#pools.get(name));
  }

  @Patch(':pool')
  @Needs('operator')
  async change(
    @Caller() caller: ApiCaller,
    @Param('pool') name: string,
    @Body() body: unknown,
  ): Promise<PoolStateDocument> {
    return poolDocument(await this.#pools.put(caller.keyId, name, parse(ChangePoolState, body).state));
  }

  @Post(':pool/empty')
  @HttpCode(202)
  @RefusesIdempotencyKey()
  @Needs('operator')
  async empty(@Caller() caller: ApiCaller, @Param('pool') name: string): Promise<PoolStateDocument> {
    return poolDocument(await this.#pools.empty(caller.keyId, name));
  }
}

function poolDocument({ name, state, sinceMs, by, waiting, emptying }: Pool): PoolStateDocument {
  const time = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    name,
    state,
    since: time(sinceMs),
    by: by ?? null,
    waiting_jobs: waiting,
    emptying:
      emptying === undefined
        ? null
        : {
            asked_at: new Date(emptying.askedMs).toISOString(),
            by: emptying.by,
            found_jobs: emptying.found,
            cancelled_jobs: emptying.cancelled,
            ended_at: time(emptying.endedMs),
          },
  };
}
