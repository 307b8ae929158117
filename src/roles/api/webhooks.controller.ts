import { Body, Controller, Delete, Get, Headers, HttpCode, Param, Patch, Post, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Jobs } from '../../core/jobs/jobs.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { readableBy } from '../../surfaces/tenants/reach.ts';
import { EgressRules, checkUrl } from '../../surfaces/webhooks/egress.ts';
import { CreatedOnce } from '../../surfaces/admission/created-once.ts';
import type { Secrets } from '../../surfaces/webhooks/address-secrets.ts';
import { jobEvents } from '../../surfaces/webhooks/webhook-event.ts';
import { WebhookMessages, type WebhookMessage } from '../../surfaces/webhooks/webhook-messages.store.ts';
import { JOB_ENDPOINT, Webhooks, newWebhookId, type Endpoint } from '../../surfaces/webhooks/webhook.store.ts';
import { Caller, Needs, RefusesIdempotencyKey } from './caller.guard.ts';
import { EventStreams } from './event-streams.ts';
import { FeedReader } from './feed-reader.ts';
import { askedOnce, parse, parseIdempotencyKey } from './parse.ts';
import {
  ChangeWebhook,
  CreateWebhook,
  ListDeliveries,
  RotateSecret,
  WebhookBody,
  type DeletedWebhook,
  type DeliveryDocument,
  type DeliveryList,
  type RotatedWebhook,
  type WebhookDocument,
  type WebhookList,
  type WebhookSecret,
} from './webhooks.schemas.ts';

/** The addresses that receive a tenant's events, and the events themselves. */
@Controller('/v1')
export class WebhooksController {
  readonly #webhooks: Webhooks;
  readonly #messages: WebhookMessages;
  readonly #egress: EgressRules;
  readonly #feed: FeedReader;
  readonly #streams: EventStreams;
  readonly #created: CreatedOnce;
  readonly #jobs: Jobs;

  constructor(
    webhooks: Webhooks,
    messages: WebhookMessages,
    egress: EgressRules,
    feed: FeedReader,
    streams: EventStreams,
    created: CreatedOnce,
    jobs: Jobs,
  ) {
    this.#jobs = jobs;
    this.#messages = messages;
    this.#created = created;
    this.#webhooks = webhooks;
    this.#egress = egress;
    this.#feed = feed;
    this.#streams = streams;
  }

  @Get('events')
  @Needs('read_all')
  async events(
    @Caller() caller: ApiCaller,
    @Headers('last-event-id') lastEventId: string | undefined,
    @Res() reply: FastifyReply,
  ) {
    this.#streams.requireRoom(caller.keyId);
    await this.#webhooks.listen(caller.tenant);
    const since = await this.#feed.place(caller.tenant, lastEventId);
    await this.#streams.serve(reply, caller.keyId, (signal) => this.#feed.frames(caller.tenant, since, signal));
  }

  @Post('webhooks')
  @Needs('tenant_admin')
  async create(
    @Caller() caller: ApiCaller,
    @Body() body: unknown,
    @Headers('idempotency-key') idempotencyKey: string | undefined,
  ): Promise<WebhookDocument> {
    const { url, ...wanted } = parse(CreateWebhook, body);
    const checked = checkUrl(url, this.#egress).href;
    const once = askedOnce(parseIdempotencyKey(idempotencyKey), '/v1/webhooks', body);
    const id = await this.#created.idFor(caller.tenant, once, newWebhookId());
    return this.#document(caller.tenant, await this.#webhooks.create(caller.tenant, id, { url: checked, ...wanted }));
  }

  @Get('webhooks')
  @Needs('tenant_admin')
  async list(@Caller() caller: ApiCaller): Promise<WebhookList> {
    const endpoints = await this.#webhooks.list(caller.tenant);
    return { webhooks: await Promise.all(endpoints.map((endpoint) => this.#document(caller.tenant, endpoint))) };
  }

  /** The secret of addresses that are given with a job. */
  @Get('webhooks/default/secret')
  @Needs('submit')
  async defaultSecret(@Caller() caller: ApiCaller): Promise<WebhookSecret> {
    return this.#secret(caller.tenant, JOB_ENDPOINT, await this.#webhooks.jobSecrets(caller.tenant));
  }

  @Post('webhooks/default/rotate')
  @RefusesIdempotencyKey()
  @HttpCode(200)
  @Needs('tenant_admin')
  async rotateDefault(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<WebhookSecret> {
    const { overlap_seconds } = parse(RotateSecret, body === undefined ? {} : body);
    return this.#secret(
      caller.tenant,
      JOB_ENDPOINT,
      await this.#webhooks.rotateJobSecret(caller.tenant, overlap_seconds * 1_000),
    );
  }

  @Get('webhooks/:webhook')
  @Needs('tenant_admin')
  async get(@Caller() caller: ApiCaller, @Param('webhook') id: string): Promise<WebhookDocument> {
    return this.#document(caller.tenant, await this.#webhooks.get(caller.tenant, id));
  }

  @Get('webhooks/:webhook/secret')
  @Needs('tenant_admin')
  async secret(@Caller() caller: ApiCaller, @Param('webhook') id: string): Promise<WebhookSecret> {
    return this.#secret(caller.tenant, id, await this.#webhooks.get(caller.tenant, id));
  }

  @Patch('webhooks/:webhook')
  @Needs('tenant_admin')
  async change(
    @Caller() caller: ApiCaller,
    @Param('webhook') id: string,
    @Body() body: unknown,
  ): Promise<WebhookDocument> {
    await this.#webhooks.get(caller.tenant, id);
    const { url, ...change } = parse(ChangeWebhook, body);
    const checked = url === undefined ? undefined : checkUrl(url, this.#egress).href;
    return this.#document(caller.tenant, await this.#webhooks.change(caller.tenant, id, { url: checked, ...change }));
  }

  @Delete('webhooks/:webhook')
  @Needs('tenant_admin')
  async remove(@Caller() caller: ApiCaller, @Param('webhook') id: string): Promise<DeletedWebhook> {
    await this.#webhooks.remove(caller.tenant, id);
    return { id, deleted: true };
  }

  @Post('webhooks/:webhook/rotate')
  @RefusesIdempotencyKey()
  @HttpCode(200)
  @Needs('tenant_admin')
  async rotate(
    @Caller() caller: ApiCaller,
    @Param('webhook') id: string,
    @Body() body: unknown,
  ): Promise<RotatedWebhook> {
    const { overlap_seconds } = parse(RotateSecret, body === undefined ? {} : body);
    const endpoint = await this.#webhooks.rotate(caller.tenant, id, overlap_seconds * 1_000);
    return { ...(await this.#document(caller.tenant, endpoint)), ...this.#secret(caller.tenant, id, endpoint) };
  }

  @Post('webhooks/:webhook/test')
  @RefusesIdempotencyKey()
  @HttpCode(202)
  @Needs('tenant_admin')
  async test(@Caller() caller: ApiCaller, @Param('webhook') id: string): Promise<DeliveryDocument> {
    const endpoint = await this.#webhooks.get(caller.tenant, id);
    return deliveryDocument(await this.#messages.sendTest(caller.tenant, endpoint));
  }

  @Get('webhooks/:webhook/deliveries')
  @Needs('tenant_admin')
  async deliveries(
    @Caller() caller: ApiCaller,
    @Param('webhook') id: string,
    @Query() query: unknown,
  ): Promise<DeliveryList> {
    const { limit } = parse(ListDeliveries, query);
    if (id !== JOB_ENDPOINT) await this.#webhooks.get(caller.tenant, id);
    return { deliveries: (await this.#messages.list(caller.tenant, id, limit)).map(deliveryDocument) };
  }

  @Get('jobs/:id/deliveries')
  @Needs('tenant_admin')
  async deliveriesOf(@Caller() caller: ApiCaller, @Param('id') id: string): Promise<DeliveryList> {
    const view = await this.#jobs.get(readableBy(caller), id);
    const endpoints = [JOB_ENDPOINT, ...(await this.#webhooks.list(caller.tenant)).map((endpoint) => endpoint.id)];
    const messages = await this.#messages.about(caller.tenant, view.id, jobEvents(view), endpoints);
    return { deliveries: messages.map(deliveryDocument) };
  }

  @Post('deliveries/:delivery/redeliver')
  @RefusesIdempotencyKey()
  @HttpCode(202)
  @Needs('tenant_admin')
  async redeliver(@Caller() caller: ApiCaller, @Param('delivery') id: string): Promise<DeliveryDocument> {
    return deliveryDocument(await this.#messages.redeliver(caller.tenant, id));
  }

  #secret(tenant: string, endpoint: string, secrets: Secrets): WebhookSecret {
    const { symmetric, publicKey } = this.#webhooks.secretOf(tenant, endpoint, secrets);
    return { secret: symmetric, public_key: publicKey };
  }

  async #document(tenant: string, endpoint: Endpoint): Promise<WebhookDocument> {
    const [lost = 0] = await this.#messages.lost(tenant, [endpoint.id]);
    return {
      id: endpoint.id,
      url: endpoint.url,
      events: endpoint.events,
      format: endpoint.format,
      description: endpoint.description,
      created_at: new Date(endpoint.createdMs).toISOString(),
      disabled_at: endpoint.disabledMs === null ? null : new Date(endpoint.disabledMs).toISOString(),
      disabled_because: endpoint.disabledBecause,
      lost,
      public_key: this.#webhooks.secretOf(tenant, endpoint.id, endpoint).publicKey,
    };
  }
}

function deliveryDocument(delivery: WebhookMessage): DeliveryDocument {
  const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    id: delivery.id,
    endpoint: delivery.endpoint,
    url: delivery.url,
    type: delivery.type,
    status: delivery.status,
    attempts: delivery.attempts,
    created_at: new Date(delivery.created).toISOString(),
    delivered_at: iso(delivery.delivered),
    next_attempt_at: iso(delivery.next),
    answered: delivery.answered ?? null,
    problem: delivery.problem ?? null,
    body: WebhookBody.parse(JSON.parse(delivery.body)),
  };
}
