import { inflateRawSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { aRecord } from '../../../test/support/records.ts';
import { documents, newKey } from '../../../test/support/sample-receipts.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CLOSINGS, FINAL_STATES } from '../../proof/contract/job-states.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes, type Ticket } from '../../proof/receipts/statements.ts';
import { erased, erasedBytes, isErased, openAny } from './erased-record.ts';
import { INFLATE, openRecord, recordBody, recordBytes, recordHead, type RecordContent } from './job-record.ts';

const CANARY = 'Zq7canary';
const { ticket, evidence, verdict } = documents(1);
const PRICE = {
  table: { id: 'v1', sha256: 'a'.repeat(64) },
  currency: 'USD',
  input: 1_000_000,
  output: 10_000_000,
  second: 0,
  attestation: 5,
  hold: 500,
};
/** A ticket whose parameters hold the canary. */
const asked = (price: Ticket['predicate']['price']): Ticket => ({
  ...ticket,
  predicate: {
    ...ticket.predicate,
    params: { ...ticket.predicate.params, stop: [CANARY] },
    ...(price === undefined ? {} : { price }),
  },
});

const Ms = fc.nat({ max: 2_000_000_000_000 });
const Content: fc.Arbitrary<RecordContent> = fc
  .record({
    price: fc.constantFrom(undefined, PRICE),
    isStored: fc.boolean(),
    hasEvidence: fc.boolean(),
    hasVerdict: fc.boolean(),
    hold: fc.option(fc.nat(), { nil: undefined }),
    cancelAskedMs: fc.option(Ms, { nil: undefined }),
    salt: fc.option(fc.constant(Buffer.alloc(32, 7)), { nil: undefined }),
    closed: fc.array(fc.constantFrom(...CLOSINGS, undefined), { maxLength: 4 }),
  })
  .map(({ price, hasEvidence, hasVerdict, closed, ...rest }) => {
    const whole = aRecord({
      ...rest,
      surface: `{"instructions":"${CANARY}"}`,
      ticket: signPayload(newKey(), statementBytes(asked(price))),
      output: Buffer.from(CANARY),
      attempts: closed.map((why, at) => ({
        epoch: at + 1,
        worker: 'w-1',
        claimedMs: at,
        beganMs: at,
        committedMs: at + 1,
        closed: why && { why, atMs: at + 2, detail: `the engine said ${CANARY}` },
      })),
      ending: { epoch: 1, code: 'engine_refused', detail: CANARY },
    });
    return {
      ...whole,
      evidence: hasEvidence ? whole.evidence : undefined,
      verdict: hasVerdict ? whole.verdict : undefined,
    };
  });

/** Everything that stands in these bytes, deflated or not. */
function readable(bytes: Buffer): string {
  const { length } = recordHead(bytes);
  const present = bytes[length] ?? 0;
  const at = length + 1 + ((present & 4) === 0 ? 0 : 64) + ((present & 8) === 0 ? 0 : 32);
  return bytes.toString('latin1') + inflateRawSync(bytes.subarray(at), INFLATE).toString('latin1');
}

describe('the stub of a job', () => {
  test('says who, when, how it ended, what it used and cost, digests and the verdict, and holds nothing else that the record held', () => {
    fc.assert(
      fc.property(
        Content,
        fc.constantFrom(...FINAL_STATES),
        fc.option(fc.nat(), { nil: undefined }),
        Ms,
        (content, state, index, erasedMs) => {
          const head = { state, index, endedMs: 17, tenant: content.tenant, model: content.model };
          const full = recordBytes(head, recordBody(content));
          const stub = erased(full, erasedMs);
          expect([isErased(full), isErased(stub)]).toEqual([false, true]);
          expect(recordHead(stub)).toEqual(recordHead(full));
          expect(readable(stub)).not.toContain(CANARY);
          expect(() => openRecord(stub)).toThrow('erased');
          const opened = openAny(stub);
          if (!('erasedMs' in opened)) throw new Error('It is no stub.');
          const { id, keyId, hold, cancelAskedMs, createdMs, deadlineMs, salt } = content;
          expect(opened).toMatchObject({
            id,
            keyId,
            hold,
            cancelAskedMs,
            createdMs,
            deadlineMs,
            salt,
            index,
            erasedMs,
          });
          expect(opened.verdict).toEqual(content.verdict);
          expect(opened.ending).toEqual({ state, atMs: 17, epoch: 1, code: 'engine_refused', detail: '' });
          expect(opened.digests).toEqual({
            ticket: sha256Hex(content.ticket.payload),
            input: ticket.subject[0].digest.sha256,
            ...(content.evidence === undefined
              ? {}
              : { evidence: sha256Hex(content.evidence.payload), output: evidence.subject[0].digest.sha256 }),
          });
          // Erasing what is erased changes nothing, and what was opened makes the same bytes.
          expect(erased(stub, erasedMs + 1)).toBe(stub);
          expect(erasedBytes(opened)).toEqual(stub);
        },
      ),
    );
  });

  test('of a done job with a price knows the charge that its documents came to', () => {
    const content = aRecord({ ticket: signPayload(newKey(), statementBytes(asked(PRICE))) });
    const head = { state: 'done', index: 3, endedMs: 17, tenant: 'acme', model: 'noop' } as const;
    expect(openAny(erased(recordBytes(head, recordBody(content)), 20))).toMatchObject({
      price: PRICE,
      usage: verdict.predicate.usage ?? evidence.predicate.usage,
      charge: chargeOf(asked(PRICE).predicate, evidence.predicate, verdict.predicate),
    });
    expect(openAny(erased(recordBytes({ ...head, state: 'failed' }, recordBody(content)), 20))).toMatchObject({
      usage: undefined,
      charge: undefined,
    });
  });
});
