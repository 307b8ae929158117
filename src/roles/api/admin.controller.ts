import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { StuckJobs } from '../../core/jobs/stuck-jobs.ts';
import { decodeStored, toEnvelope } from '../../proof/receipts/dsse.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { DELETION_TYPE } from '../../surfaces/offboarding/tenant-deleter.ts';
import { TenantDeletions, type Deletion } from '../../surfaces/offboarding/tenant-deletions.ts';
import { Tenants, type Tenant } from '../../surfaces/tenants/tenant.store.ts';
import {
  ChangeKey,
  ChangeTenant,
  CreateKey,
  CreateTenant,
  ListKeyWork,
  ListStuck,
  RevokeKey,
  RotateKey,
  type DeletionDocument,
  type KeyDocument,
  type KeyList,
  type KeyWork,
  type NewKey,
  type StuckList,
  type TenantDocument,
  type TenantList,
  type TenantWithAccount,
} from './admin.schemas.ts';
import { Caller, Needs, RefusesIdempotencyKey } from './caller.guard.ts';
import { KeyWorks, futureTime, keyDocument } from './key-document.ts';
import { parse } from './parse.ts';

/**
 * Tenants, their keys and limits, and jobs that are stuck: for the operator of the installation, whose keys
 * have the scope `operator`.
 */
@Controller('/v1/admin')
export class AdminController {
  readonly #tenants: Tenants;
  readonly #keys: ApiKeys;
  readonly #usage: UsageStore;
  readonly #stuck: StuckJobs;
  readonly #work: KeyWorks;
  readonly #deletions: TenantDeletions;

  constructor(
    tenants: Tenants,
    keys: ApiKeys,
    usage: UsageStore,
    stuck: StuckJobs,
    work: KeyWorks,
    deletions: TenantDeletions,
  ) {
    this.#deletions = deletions;
    this.#work = work;
    this.#tenants = tenants;
    this.#keys = keys;
    this.#usage = usage;
    this.#stuck = stuck;
  }

  @Post('tenants')
  @RefusesIdempotencyKey()
  @Needs('operator')
  async createTenant(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<TenantDocument> {
    const { name, limits } = parse(CreateTenant, body);
    return tenantDocument(await this.#tenants.create(caller.keyId, name, limits));
  }

  @Get('tenants')
  @Needs('operator')
  async listTenants(): Promise<TenantList> {
    return { tenants: (await this.#tenants.list()).map(tenantDocument) };
  }

  @Get('tenants/:tenant')
  @Needs('operator')
  async tenant(@Param('tenant') name: string): Promise<TenantWithAccount> {
    const tenant = await this.#tenants.get(name);
    return { ...tenantDocument(tenant), account: await this.#usage.account(name) };
  }

  @Patch('tenants/:tenant')
  @Needs('operator')
  async changeTenant(
    @Caller() caller: ApiCaller,
    @Param('tenant') name: string,
    @Body() body: unknown,
  ): Promise<TenantDocument> {
    return tenantDocument(await this.#tenants.change(caller.keyId, name, parse(ChangeTenant, body)));
  }

  @Delete('tenants/:tenant')
  @HttpCode(202)
  @Needs('operator')
  async deleteTenant(@Caller() caller: ApiCaller, @Param('tenant') name: string): Promise<DeletionDocument> {
    return deletionDocument(await this.#deletions.ask(caller.keyId, name));
  }

  @Get('tenants/:tenant/deletion')
  @Needs('operator')
  async deletion(@Param('tenant') name: string): Promise<DeletionDocument> {
    return deletionDocument(await this.#deletions.get(name));
  }

  @Post('tenants/:tenant/keys')
  @RefusesIdempotencyKey()
  @Needs('operator')
  async createKey(@Caller() caller: ApiCaller, @Param('tenant') name: string, @Body() body: unknown): Promise<NewKey> {
    const { scopes, name: label, expires_at, limits } = parse(CreateKey, body);
    const tenant = await this.#tenants.get(name);
    const expiresAt = futureTime(expires_at);
    const { text, keyId } = await this.#keys.create(caller.keyId, {
      tenant: tenant.name,
      scopes,
      name: label,
      expiresAt,
      limits,
    });
    return { ...keyDocument(await this.#keys.get(keyId)), key: text };
  }

  @Get('tenants/:tenant/keys')
  @Needs('operator')
  async listKeys(@Param('tenant') name: string): Promise<KeyList> {
    await this.#tenants.get(name);
    return { keys: (await this.#keys.list(name)).map(keyDocument) };
  }

  @Post('keys/:key/rotate')
  @RefusesIdempotencyKey()
  @Needs('operator')
  async rotateKey(@Caller() caller: ApiCaller, @Param('key') keyId: string, @Body() body: unknown): Promise<NewKey> {
    const { overlap_seconds } = parse(RotateKey, body === undefined ? {} : body);
    const made = await this.#keys.rotate(caller.keyId, keyId, overlap_seconds * 1_000);
    return { ...keyDocument(await this.#keys.get(made.keyId)), key: made.text };
  }

  @Patch('keys/:key')
  @Needs('operator')
  async changeKey(
    @Caller() caller: ApiCaller,
    @Param('key') keyId: string,
    @Body() body: unknown,
  ): Promise<KeyDocument> {
    return keyDocument(await this.#keys.change(caller.keyId, keyId, parse(ChangeKey, body)));
  }

  @Delete('keys/:key')
  @HttpCode(200)
  @Needs('operator')
  async revokeKey(
    @Caller() caller: ApiCaller,
    @Param('key') keyId: string,
    @Query() query: unknown,
  ): Promise<KeyDocument> {
    await this.#keys.revoke(caller.keyId, keyId, parse(RevokeKey, query).work);
    return keyDocument(await this.#keys.get(keyId));
  }

  @Get('keys/:key/work')
  @Needs('operator')
  async keyWork(@Param('key') keyId: string, @Query() query: unknown): Promise<KeyWork> {
    const { tenant } = await this.#keys.get(keyId);
    return this.#work.of({ tenant, keys: new Set([keyId]) }, parse(ListKeyWork, query));
  }

  @Get('jobs/stuck')
  @Needs('operator')
  async stuckJobs(@Query() query: unknown): Promise<StuckList> {
    const time = (ms: number) => new Date(ms).toISOString();
    const jobs = await this.#stuck.list(parse(ListStuck, query).limit);
    return {
      jobs: jobs.map(({ id, tenant, model, sinceMs, failures, cause, nextTryMs, deadlineMs }) => ({
        id,
        tenant,
        model,
        since: time(sinceMs),
        failures,
        cause,
        next_try: time(nextTryMs),
        deadline: time(deadlineMs),
      })),
    };
  }
}

export function tenantDocument({ name, createdAt, disabledAt, limits }: Tenant): TenantDocument {
  return { name, created_at: createdAt, disabled_at: disabledAt ?? null, limits };
}

function deletionDocument({ tenant, state, account }: Deletion): DeletionDocument {
  const signed = account === undefined ? undefined : decodeStored(Buffer.from(account));
  return {
    tenant,
    status: account === undefined ? 'deleting' : 'deleted',
    step: state?.step ?? null,
    removed: state?.removed ?? null,
    account: signed === undefined ? null : { ...toEnvelope(signed), payloadType: DELETION_TYPE },
  };
}
