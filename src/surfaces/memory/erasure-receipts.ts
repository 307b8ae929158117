import { Injectable } from '@nestjs/common';
import { z } from 'zod';
import { AuditLog } from '../../core/audit/audit-log.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { Envelope, signPayload, toEnvelope } from '../../proof/receipts/dsse.ts';
import { Sha256 } from '../../proof/receipts/fields.ts';
import { MemoryClient } from './memory-client.ts';
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

/**
 * Signs what erasures came to, and puts the digest of each into the audit log, whose heads stand in the
 * transparency log.
 */
@Injectable()
export class ErasureReceipts {
  readonly #memory: MemoryClient;
  readonly #audit: AuditLog;
  readonly #signingKey: SigningKey;

  constructor(memory: MemoryClient, audit: AuditLog, signingKey: SigningKey) {
    this.#memory = memory;
    this.#audit = audit;
    this.#signingKey = signingKey;
  }

  /** The receipt, the same bytes each time: the signature is that of Ed25519. */
  of({ erasure, statement, sha256 }: Erased): ErasureReceipt {
    const signed = signPayload(this.#signingKey, Buffer.from(statement), ERASURE_TYPE);
    return {
      erasure,
      sha256,
      statement: ErasureStatement.parse(JSON.parse(statement)),
      envelope: { ...toEnvelope(signed), payloadType: ERASURE_TYPE },
    };
  }

  /**
   * Writes the digests of a tenant's erasures into the audit log that are not there yet, also those that a
   * crash has left. A crash in between writes one a second time.
   */
  async log(tenant: string, by: string): Promise<void> {
    const open = await this.#memory.call('unlogged', { tenant });
    for (const { erasure, sha256, statement } of open) {
      const { scope, removed } = ErasureStatement.parse(JSON.parse(statement));
      const detail = { sha256, scope, removed };
      await this.#audit.note({ by, action: 'memory.erased', target: erasure, tenant, detail });
    }
    if (open.length > 0) await this.#memory.call('logged', { tenant, erasures: open.map(({ erasure }) => erasure) });
  }
}
