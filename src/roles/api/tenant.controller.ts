import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { grantable, requireWithin } from '../../surfaces/tenants/key-grant.ts';
import { Tenants } from '../../surfaces/tenants/tenant.store.ts';
import { tenantDocument } from './admin.controller.ts';
import {
  ChangeKey,
  CreateKey,
  ListKeyWork,
  RevokeKey,
  RotateKey,
  type KeyDocument,
  type KeyList,
  type KeyWork,
  type NewKey,
  type TenantWithAccount,
} from './admin.schemas.ts';
import { Caller, Needs, RefusesIdempotencyKey } from './caller.guard.ts';
import { KeyWorks, futureTime, keyDocument } from './key-document.ts';
import { parse } from './parse.ts';

/**
 * What the administrator of a tenant may do with it: see its limits and its account, and manage its keys. No
 * key that is made here can do more than the key that makes it.
 */
@Controller('/v1')
export class TenantController {
  readonly #tenants: Tenants;
  readonly #keys: ApiKeys;
  readonly #usage: UsageStore;
  readonly #work: KeyWorks;

  constructor(tenants: Tenants, keys: ApiKeys, usage: UsageStore, work: KeyWorks) {
    this.#tenants = tenants;
    this.#keys = keys;
    this.#usage = usage;
    this.#work = work;
  }

  @Get('tenant')
  @Needs('tenant_admin')
  async tenant(@Caller() { tenant: name }: ApiCaller): Promise<TenantWithAccount> {
    return { ...tenantDocument(await this.#tenants.get(name)), account: await this.#usage.account(name) };
  }

  @Post('keys')
  @RefusesIdempotencyKey()
  @Needs('tenant_admin')
  async createKey(@Caller() caller: ApiCaller, @Body() body: unknown): Promise<NewKey> {
    const { scopes, name, expires_at, limits } = parse(CreateKey, body);
    const powers = grantable(caller, { scopes, limits: limits ?? {}, expiresAt: futureTime(expires_at) });
    const { text, keyId } = await this.#keys.create(caller.keyId, { tenant: caller.tenant, name, ...powers });
    return { ...keyDocument(await this.#keys.get(keyId)), key: text };
  }

  @Get('keys')
  @Needs('tenant_admin')
  async listKeys(@Caller() { tenant }: ApiCaller): Promise<KeyList> {
    return { keys: (await this.#keys.list(tenant)).map(keyDocument) };
  }

  @Get('keys/:key')
  @Needs('tenant_admin')
  async key(@Caller() { tenant }: ApiCaller, @Param('key') keyId: string): Promise<KeyDocument> {
    return keyDocument(await this.#keys.getOf(tenant, keyId));
  }

  @Patch('keys/:key')
  @Needs('tenant_admin')
  async changeKey(
    @Caller() caller: ApiCaller,
    @Param('key') keyId: string,
    @Body() body: unknown,
  ): Promise<KeyDocument> {
    const { scopes, expiresAt } = await this.#keys.getOf(caller.tenant, keyId);
    const { limits, ...change } = parse(ChangeKey, body);
    if (limits === undefined) return keyDocument(await this.#keys.change(caller.keyId, keyId, change));
    // Only the limits are given anew: what the key may do already, it may go on doing.
    const granted = grantable({ ...caller, scopes: new Set(scopes), expiresAt }, { scopes, expiresAt, limits });
    return keyDocument(await this.#keys.change(caller.keyId, keyId, { ...change, limits: granted.limits }));
  }

  /** The answer has the text of a key: it is given to whoever could have made such a key. */
  @Post('keys/:key/rotate')
  @RefusesIdempotencyKey()
  @Needs('tenant_admin')
  async rotateKey(@Caller() caller: ApiCaller, @Param('key') keyId: string, @Body() body: unknown): Promise<NewKey> {
    const { overlap_seconds } = parse(RotateKey, body === undefined ? {} : body);
    const key = await this.#keys.getOf(caller.tenant, keyId);
    if (keyId !== caller.keyId) requireWithin(caller, key);
    const made = await this.#keys.rotate(caller.keyId, keyId, overlap_seconds * 1_000);
    return { ...keyDocument(await this.#keys.get(made.keyId)), key: made.text };
  }

  @Delete('keys/:key')
  @HttpCode(200)
  @Needs('tenant_admin')
  async revokeKey(
    @Caller() caller: ApiCaller,
    @Param('key') keyId: string,
    @Query() query: unknown,
  ): Promise<KeyDocument> {
    await this.#keys.getOf(caller.tenant, keyId);
    await this.#keys.revoke(caller.keyId, keyId, parse(RevokeKey, query).work);
    return keyDocument(await this.#keys.get(keyId));
  }

  @Get('keys/:key/work')
  @Needs('tenant_admin')
  async keyWork(
    @Caller() { tenant }: ApiCaller,
    @Param('key') keyId: string,
    @Query() query: unknown,
  ): Promise<KeyWork> {
    await this.#keys.getOf(tenant, keyId);
    return this.#work.of({ tenant, keys: new Set([keyId]) }, parse(ListKeyWork, query));
  }
}
