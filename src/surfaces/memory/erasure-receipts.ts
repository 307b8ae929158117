import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { AuditLog } from '../../core/audit/audit-log.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { Envelope, signPayload, toEnvelope } from '../../proof/receipts/dsse.ts';
import { Sha256 } from '../../proof/receipts/fields.ts';
import { eraseNow } from '../erasure/erasure-wishes.ts';
import type { MemoryClient } from './memory-client.ts';
import type { Erased } from './memory-calls.ts';

/** The payload type of a deletion receipt, which is a DSSE envelope. */
export const ERASURE_TYPE = 'application/vnd.countersign.memory-erasure+json';

/** What a deletion receipt says. */
export const ErasureStatement = z.strictObject({
  type: z.literal('countersign/memory-erasure/v1'),
  erasure: z.string(),
  tenant: z.string(),
  owner: z.string().describe('a random handle, and nothing that says who it was'),
  scope: z.enum(['memory', 'owner']),
  asked_by: z.string(),
  asked_at: z.string(),
  finished_at: z.string(),
  memories: z.array(z.string()).describe('the ids that were erased; none where the owner was'),
  removed: z.int(),
  resealed: z.int().describe('the memories that stay, sealed under a new key'),
  keys_destroyed: z.string(),
  follows: z
    .array(z.string())
    .optional()
    .describe('what was asked of others besides; receipts of older versions do not say it'),
  not_proved: z.array(z.string()),
});

/** The statement with its signature. */
export const ErasureEnvelope = Envelope.extend({ payloadType: z.literal(ERASURE_TYPE) });

/** A deletion receipt as it is handed out. */
export interface ErasureReceipt {
  readonly erasure: string;
  /** The digest of the statement, which stands in the audit log. */
  readonly sha256: z.infer<typeof Sha256>;
  readonly statement: z.infer<typeof ErasureStatement>;
  readonly envelope: z.infer<typeof ErasureEnvelope>;
}

interface ReceiptParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly memory: MemoryClient;
  readonly audit: AuditLog;
  readonly signingKey: SigningKey;
}

/**
 * Signs what erasures came to, puts the digest of each into the audit log, whose heads stand in the
 * transparency log, and has the jobs erased that hold what went.
 */
export class ErasureReceipts {
  readonly #parts: ReceiptParts;

  constructor(parts: ReceiptParts) {
    this.#parts = parts;
  }

  /** The receipt, the same bytes each time: the signature is that of Ed25519. */
  of({ erasure, statement, sha256 }: Erased): ErasureReceipt {
    const signed = signPayload(this.#parts.signingKey, Buffer.from(statement), ERASURE_TYPE);
    return {
      erasure,
      sha256,
      statement: ErasureStatement.parse(JSON.parse(statement)),
      envelope: { ...toEnvelope(signed), payloadType: ERASURE_TYPE },
    };
  }

  /**
   * Writes the digests of a tenant's erasures into the audit log that are not there yet, and asks for the
   * erasure of jobs that hold what was erased: also those that a crash has left. A crash in between writes a
   * digest a second time.
   */
  async settle(tenant: string, by: string): Promise<void> {
    const { redis, keys, memory, audit } = this.#parts;
    const open = await memory.call('unlogged', { tenant });
    for (const { erasure, sha256, statement } of open) {
      const { scope, removed } = ErasureStatement.parse(JSON.parse(statement));
      const detail = { sha256, scope, removed };
      await audit.note({ by, action: 'memory.erased', target: erasure, tenant, detail });
    }
    if (open.length > 0) await memory.call('logged', { tenant, erasures: open.map(({ erasure }) => erasure) });
    for (;;) {
      const jobs = await memory.call('dueHolders', { tenant });
      if (jobs.length === 0) return;
      await eraseNow(redis, keys, jobs);
      await memory.call('forgetHolders', { tenant, jobs });
    }
  }
}
