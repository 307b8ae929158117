import { Body, Controller, Get, HttpCode, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { QueueHeads } from '../../core/execution/queue-heads.ts';
import { Deliveries } from '../../core/leasing/deliveries.processor.ts';
import { LeaseBlobs } from '../../core/leasing/lease-blobs.ts';
import { Leases } from '../../core/leasing/leases.ts';
import { Standings } from '../../core/leasing/standings.ts';
import {
  AskLeases,
  AskWaiting,
  BlobName,
  BlobPart,
  Commit,
  HeldLease,
  Pieces,
  ROUTES,
  Renew,
  type Committed,
  type Lease,
  type Renewed,
  type Uploaded,
  type Waiting,
} from '../../core/remote/wire.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { JobId } from '../../proof/receipts/fields.ts';
import { checked } from '../../surfaces/http/checked.ts';
import { signalOf } from '../../surfaces/http/hang-up.ts';
import { RequestGate } from './request-gate.ts';

/** What a worker asks and says of leases. Each may be sent again without harm. */
@Controller()
export class LeasesController {
  readonly #gate: RequestGate;
  readonly #deliveries: Deliveries;
  readonly #leases: Leases;
  readonly #standings: Standings;
  readonly #blobs: LeaseBlobs;
  readonly #heads: QueueHeads;

  constructor(
    gate: RequestGate,
    deliveries: Deliveries,
    leases: Leases,
    standings: Standings,
    blobs: LeaseBlobs,
    heads: QueueHeads,
  ) {
    this.#gate = gate;
    this.#deliveries = deliveries;
    this.#leases = leases;
    this.#standings = standings;
    this.#blobs = blobs;
    this.#heads = heads;
  }

  /** Waits for jobs. Whoever may not work is given none, and waits as long. */
  @Post(ROUTES.leases)
  @HttpCode(200)
  async lease(
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Body() body: unknown,
  ): Promise<{ leases: readonly Lease[] }> {
    const { worker } = this.#gate.callerOf(request);
    const asked = checked(AskLeases, body);
    const isBarred = (await this.#standings.barOf(worker)) !== null;
    const models = isBarred ? [] : asked.models;
    const leases = await this.#deliveries.ask(worker, { ...asked, models }, signalOf(reply));
    for (const _lease of leases) count('countersign_gateway_leases_total');
    return { leases };
  }

  /** What waits for models, so that a worker that does not hold all of them knows which to load. */
  @Post(ROUTES.waiting)
  @HttpCode(200)
  async waiting(@Req() request: FastifyRequest, @Body() body: unknown): Promise<Waiting> {
    const { worker } = this.#gate.callerOf(request);
    const { models } = checked(AskWaiting, body);
    if ((await this.#standings.barOf(worker)) !== null) return { waiting: [] };
    const heads = await this.#heads.heads(models);
    // A delivery's name has the id of a job, which is nobody's business before it is leased.
    return { waiting: [...heads].map(([model, head]) => ({ model, next: sha256Hex(head).slice(0, 16) })) };
  }

  @Post(ROUTES.renewals)
  @HttpCode(200)
  async renew(@Req() request: FastifyRequest, @Body() body: unknown): Promise<Renewed> {
    const { worker } = this.#gate.callerOf(request);
    const { leases } = checked(Renew, body);
    const [renewed, bar] = await Promise.all([this.#leases.renew(worker, leases), this.#standings.barOf(worker)]);
    return { leases: renewed, bar };
  }

  @Post(ROUTES.pieces)
  @HttpCode(204)
  async write(@Req() request: FastifyRequest, @Body() body: unknown): Promise<void> {
    const { worker } = this.#gate.callerOf(request);
    await this.#leases.write(worker, checked(Pieces, body).pieces);
  }

  @Post(ROUTES.lease(':job'))
  @HttpCode(200)
  async commit(@Req() request: FastifyRequest, @Param('job') job: string, @Body() body: unknown): Promise<Committed> {
    const caller = this.#gate.callerOf(request);
    return { reply: await this.#leases.commit(caller, checked(JobId, job), checked(Commit, body)) };
  }

  /** The input of a job, where it is a blob. */
  @Get(ROUTES.blob(':job', ':sha256'))
  async input(
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
    @Param('job') job: string,
    @Param('sha256') sha256: string,
    @Query() query: unknown,
  ): Promise<Buffer> {
    const { worker } = this.#gate.callerOf(request);
    const held = { job: checked(JobId, job), ...checked(HeldLease, query) };
    const bytes = await this.#blobs.input(worker, held, checked(BlobName, sha256));
    void reply.type('application/octet-stream');
    return bytes;
  }

  /** A part of what a worker hands in. */
  @Put(ROUTES.blob(':job', ':sha256'))
  async upload(
    @Req() request: FastifyRequest,
    @Param('job') job: string,
    @Param('sha256') sha256: string,
    @Query() query: unknown,
    @Body() body: unknown,
  ): Promise<Uploaded> {
    const { worker } = this.#gate.callerOf(request);
    const part = { job: checked(JobId, job), sha256: checked(BlobName, sha256), ...checked(BlobPart, query) };
    if (!Buffer.isBuffer(body))
      throw new CodedError('media_type_unsupported', 'Send a part of a blob as application/octet-stream.');
    return this.#blobs.take(worker, { ...part, bytes: body });
  }
}
