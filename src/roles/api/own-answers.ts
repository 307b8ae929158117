import { Injectable } from '@nestjs/common';
import { Jobs } from '../../core/jobs/jobs.ts';
import { isAmong, type OwnOnly } from '../../core/jobs/whose.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Admitted } from '../../surfaces/admission/admission.ts';
import type { Caller } from '../../surfaces/tenants/api-key.ts';
import { readableBy } from '../../surfaces/tenants/reach.ts';

/**
 * Throws CodedError `idempotency_key_reused` where a repetition found what another key of the tenant has
 * made, and the caller may read only what its own key made.
 */
export function requireReadable(caller: Caller, thing: { readonly tenant: string; readonly keyId: string }): void {
  if (!isAmong(readableBy(caller), thing)) throw reused();
}

const reused = () =>
  new CodedError(
    'idempotency_key_reused',
    'This Idempotency-Key was used by another API key of your tenant; use a new one.',
  );

/**
 * Keeps the answers that another key of the tenant has asked for from a caller who may read only its own. An
 * Idempotency-Key belongs to the tenant, and a repetition of somebody else's request finds their jobs.
 */
@Injectable()
export class OwnAnswers {
  readonly #jobs: Jobs;

  constructor(jobs: Jobs) {
    this.#jobs = jobs;
  }

  /** Throws CodedError `idempotency_key_reused` where one of the jobs was made by another key. */
  async require(caller: Caller, admitted: readonly Pick<Admitted, 'id' | 'fresh'>[]): Promise<void> {
    const whose = readableBy(caller);
    if (typeof whose === 'string') return;
    for (const { id, fresh } of admitted) if (fresh === undefined) await this.#requireOne(whose, id);
  }

  async #requireOne(whose: OwnOnly, id: string): Promise<void> {
    try {
      await this.#jobs.get(whose, id);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'job_not_found') throw error;
      throw reused();
    }
  }
}
