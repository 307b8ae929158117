import { Readable } from 'node:stream';
import { Controller, Get, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { LoggedHead } from '../../core/audit/audit-export.ts';
import { AuditFiles } from '../../core/audit/audit-files.ts';
import { SEGMENT, AuditLog, type AuditQuery } from '../../core/audit/audit-log.ts';
import { LogReader } from '../../proof/tlog/log-reader.ts';
import { parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import { formatProof } from '../../proof/tlog/tlog-proof.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { ListAudit, type AuditEntries } from './admin.schemas.ts';
import { Caller, Needs } from './caller.guard.ts';
import { parse } from './parse.ts';

/** The audit log: all of it for the operator, and for a tenant's administrator what concerns the tenant. */
@Controller('/v1')
export class AuditController {
  readonly #audit: AuditLog;
  readonly #files: AuditFiles;
  readonly #log: LogReader;

  constructor(audit: AuditLog, files: AuditFiles, log: LogReader) {
    this.#audit = audit;
    this.#files = files;
    this.#log = log;
  }

  @Get('audit')
  @Needs('tenant_admin')
  own(@Caller() { tenant }: ApiCaller, @Query() query: unknown): Promise<AuditEntries> {
    return this.#page({ ...parse(ListAudit, query), tenant });
  }

  @Get('admin/audit')
  @Needs('operator')
  all(@Query() query: unknown): Promise<AuditEntries> {
    return this.#page(parse(ListAudit, query));
  }

  /** Heads first: every entry that they cover is read after them. */
  @Get('admin/audit/export')
  @Needs('operator')
  async export(@Res() reply: FastifyReply): Promise<void> {
    await reply.type('application/jsonl; charset=utf-8').send(Readable.from(this.#lines()));
  }

  async #page(query: AuditQuery): Promise<AuditEntries> {
    const { entries, next } = await this.#audit.list(this.#files, query);
    return { entries, next_before: next ?? null };
  }

  async *#lines(): AsyncGenerator<string> {
    for (const head of await this.#heads()) yield `${JSON.stringify(head)}\n`;
    const { entries } = await this.#audit.head();
    for (let begin = 0; begin < entries; begin += SEGMENT) {
      const texts = await this.#audit.read(this.#files, begin, Math.min(entries, begin + SEGMENT));
      yield texts.map((text) => `${text}\n`).join('');
    }
  }

  /** The heads that the published checkpoint covers, with their proofs. */
  async #heads(): Promise<LoggedHead[]> {
    const documents = await this.#log.documents();
    const checkpoint = await this.#log.checkpoint();
    const size = checkpoint === '' ? 0 : parseCheckpoint(checkpoint).size;
    const covered = documents.filter(({ kind, index }) => kind === 'audit' && index < size);
    const heads: LoggedHead[] = [];
    for (const { sha256, salt, keyid, index } of covered) {
      const hashes = await this.#log.inclusion(index, size);
      heads.push({ logged: sha256, salt, keyid, proof: formatProof({ index, hashes, checkpoint }) });
    }
    return heads;
  }
}
