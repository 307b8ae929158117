import { Injectable } from '@nestjs/common';
import { Jobs } from '../../core/jobs/jobs.ts';
import type { OwnOnly } from '../../core/jobs/whose.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { BatchFiles } from '../../surfaces/batches/batch-files.store.ts';
import { Batches } from '../../surfaces/batches/batch.store.ts';
import type { ApiKeyFacts } from '../../surfaces/tenants/api-key.store.ts';
import type { KeyDocument, KeyWork } from './admin.schemas.ts';

const iso = (ms: number) => new Date(ms).toISOString();

/** A key as HTTP shows it. */
export function keyDocument(key: ApiKeyFacts): KeyDocument {
  return {
    id: key.id,
    tenant: key.tenant,
    name: key.name,
    scopes: key.scopes,
    created_at: key.createdAt,
    expires_at: key.expiresAt ?? null,
    revoked_at: key.revokedAt ?? null,
    replaced_by: key.replacedBy ?? null,
    limits: key.limits,
  };
}

/** A time that was asked for, in UTC. Throws CodedError `request_invalid` where no key may end at it. */
export function futureTime(asked: string | undefined): string | undefined {
  if (asked === undefined) return undefined;
  if (Date.parse(asked) <= Date.now()) throw new CodedError('request_invalid', 'expires_at: this time is in the past.');
  const time = new Date(asked).toISOString();
  // An offset leads out of the years of four digits, which alone sort as they follow one another.
  if (time.startsWith('+')) throw new CodedError('request_invalid', 'expires_at: this time is after the year 9999.');
  return time;
}

/** What a key made: names and states, and nothing of what was asked or answered. */
@Injectable()
export class KeyWorks {
  readonly #jobs: Jobs;
  readonly #batches: Batches;
  readonly #files: BatchFiles;

  constructor(jobs: Jobs, batches: Batches, files: BatchFiles) {
    this.#jobs = jobs;
    this.#batches = batches;
    this.#files = files;
  }

  /**
   * A page of jobs, and the newest batches and files. Throws CodedError `request_invalid` for a wrong cursor.
   */
  async of(whose: OwnOnly, page: { limit: number; cursor?: string | undefined }): Promise<KeyWork> {
    const [{ jobs, next }, { batches }, { files }] = await Promise.all([
      this.#jobs.list(whose, page),
      this.#batches.list(whose, { limit: page.limit }),
      this.#files.list(whose, { limit: page.limit }),
    ]);
    return {
      jobs: jobs.map(({ id, state, model, createdMs }) => ({ id, state, model, created_at: iso(createdMs) })),
      next_cursor: next ?? null,
      batches: batches.map(({ id, status, createdMs }) => ({ id, status, created_at: iso(createdMs) })),
      files: files.map(({ id, bytes, createdMs }) => ({ id, bytes, created_at: iso(createdMs) })),
    };
  }
}
