import { Body, Controller, Delete, Get, HttpCode, Put, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Redis } from 'ioredis';
import { announceFor, withdraw } from '../../core/catalog/announcement.ts';
import { RedisHardware, requireOwnHardware } from '../../core/execution/hardware-hand-in.ts';
import { Standings } from '../../core/leasing/standings.ts';
import { Announce, HandInHardware, ROUTES, type Standing } from '../../core/remote/wire.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { checked } from '../../surfaces/http/checked.ts';
import { GatewayFacts } from './gateway-facts.ts';
import { PushedStops } from './pushed-stops.ts';
import { RequestGate } from './request-gate.ts';

/** What a worker says of itself, and what is told to it at once. */
@Controller()
export class PresenceController {
  readonly #gate: RequestGate;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #standings: Standings;
  readonly #stops: PushedStops;
  readonly #facts: GatewayFacts;
  readonly #hardware: RedisHardware;

  constructor(
    gate: RequestGate,
    redis: Redis,
    keys: RedisKeys,
    standings: Standings,
    stops: PushedStops,
    facts: GatewayFacts,
  ) {
    this.#gate = gate;
    this.#redis = redis;
    this.#keys = keys;
    this.#standings = standings;
    this.#stops = stops;
    this.#facts = facts;
    this.#hardware = new RedisHardware(redis, keys, facts.pool);
  }

  @Put(ROUTES.announcement)
  async announce(@Req() request: FastifyRequest, @Body() body: unknown): Promise<Standing> {
    const { worker } = this.#gate.callerOf(request);
    const { announcement } = checked(Announce, body);
    const own = { id: worker, pool: this.#facts.pool };
    if ((await announceFor(this.#redis, this.#keys, own, announcement)) === undefined)
      throw new CodedError('statement_invalid', 'The announcement is not one of this worker, signed, for this pool.');
    const [bar, challenge] = await Promise.all([this.#standings.barOf(worker), this.#hardware.newest()]);
    return { bar, hardware_challenge: challenge ?? null };
  }

  @Delete(ROUTES.announcement)
  @HttpCode(204)
  async withdraw(@Req() request: FastifyRequest): Promise<void> {
    const { worker } = this.#gate.callerOf(request);
    await withdraw(this.#redis, this.#keys, { role: 'worker', pool: this.#facts.pool }, worker);
  }

  @Put(ROUTES.hardware)
  @HttpCode(204)
  async hardware(@Req() request: FastifyRequest, @Body() body: unknown): Promise<void> {
    const { worker, key } = this.#gate.callerOf(request);
    const { evidence } = checked(HandInHardware, body);
    requireOwnHardware(key, evidence);
    await this.#hardware.handIn(worker, evidence);
  }

  /** Server-sent events: what is to stop at this worker. */
  @Get(ROUTES.stops)
  stops(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    this.#stops.serve(this.#gate.callerOf(request).worker, reply);
  }
}
