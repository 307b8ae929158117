import { readFileSync } from 'node:fs';
import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { KeyringFile } from '../../proof/receipts/keyring.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { Needs, Open } from './caller.guard.ts';
import { Directory } from './directory.ts';
import { Metrics } from './metrics.ts';
import type {
  Liveness,
  ModelDocument,
  ModelList,
  OpenApiDocument,
  Participants,
  Readiness,
  Welcome,
} from './directory.schemas.ts';
import { DashboardFiles } from './dashboard-files.ts';
import { PAGE_HEADERS, sendDashboardFile } from './dashboard-page.ts';
import { docsPage } from './docs-page.ts';
import { openApiDocument } from './openapi.ts';

/** Models, workers, public keys, health, metrics and documentation. */
@Controller()
export class DirectoryController {
  readonly #directory: Directory;
  readonly #metrics: Metrics;
  readonly #files: DashboardFiles;

  constructor(directory: Directory, metrics: Metrics, files: DashboardFiles) {
    this.#directory = directory;
    this.#metrics = metrics;
    this.#files = files;
  }

  @Get('/v1/models')
  @Needs('read')
  async models(): Promise<ModelList> {
    return { object: 'list', data: await this.#directory.models() };
  }

  @Get('/v1/models/:model')
  @Needs('read')
  async model(@Param('model') name: string): Promise<ModelDocument> {
    const model = (await this.#directory.models()).find(({ id }) => id === name);
    if (model === undefined)
      throw new CodedError('model_not_found', 'There is no such model; GET /v1/models lists them.', { param: 'model' });
    return model;
  }

  @Get('/v1/workers')
  @Needs('operator')
  async workers(): Promise<Participants> {
    return this.#directory.workers();
  }

  @Get('/.well-known/countersign.json')
  @Open()
  keys(): KeyringFile {
    return this.#directory.keyring;
  }

  @Get('/health/live')
  @Open()
  live(): Liveness {
    return { live: true };
  }

  @Get('/health/ready')
  @Open()
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<Readiness> {
    const health = await this.#directory.health();
    if (!health.ready) reply.status(503);
    return health;
  }

  @Get('/metrics')
  @Open()
  async metrics(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const { contentType, text } = await this.#metrics.ofProcess();
    reply.header('content-type', contentType);
    return text;
  }

  @Get('/metrics/shard')
  @Open()
  async shardMetrics(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const { contentType, text } = await this.#metrics.ofShard();
    reply.header('content-type', contentType);
    return text;
  }

  @Get('/docs')
  @Open()
  docs(@Res({ passthrough: true }) reply: FastifyReply) {
    reply.headers(pageHeaders("script-src 'self'; connect-src 'self'"));
    return docsPage();
  }

  @Get('/docs/try-out.js')
  @Open()
  tryOut(@Res({ passthrough: true }) reply: FastifyReply): string {
    reply.header('content-type', 'text/javascript; charset=utf-8');
    return TRY_OUT;
  }

  @Get('/docs/openapi.json')
  @Open()
  openapi(): OpenApiDocument {
    return openApiDocument();
  }

  @Get('/openapi.json')
  @Open()
  openapiAtRoot(): OpenApiDocument {
    return openApiDocument();
  }

  @Get('/v1/openapi.json')
  @Open()
  openapiOfVersion(): OpenApiDocument {
    return openApiDocument();
  }

  /** The dashboard for browsers, and for everyone else where to go on. */
  @Get('/')
  @Open()
  async root(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    reply.headers({ link: '</docs>; rel="service-doc", </openapi.json>; rel="service-desc"', vary: 'accept' });
    if (request.headers.accept?.includes('text/html') !== true) {
      await reply.type('application/json; charset=utf-8').send(JSON.stringify(WELCOME));
      return;
    }
    await sendDashboardFile(this.#files.page, request, reply.headers(PAGE_HEADERS));
  }
}

const WELCOME: Welcome = {
  name: 'Countersign',
  what: 'Inference jobs that are done only when a separate attestor has confirmed them.',
  documentation: '/docs',
  openapi: '/openapi.json',
  keyring: '/.well-known/countersign.json',
  readiness: '/health/ready',
};

const TRY_OUT = readFileSync(new URL('./try-out.mjs', import.meta.url), 'utf8');

/** Pages without anything from elsewhere, and without any script but what they say. */
const pageHeaders = (scripts: string) => ({
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; ${scripts}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
});
