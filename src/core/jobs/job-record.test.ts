import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { aRecord } from '../../../test/support/records.ts';
import { documents, newKey, signed } from '../../../test/support/sample-receipts.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { CLOSINGS, FINAL_STATES } from '../../proof/contract/job-states.ts';
import { openRecord, recordBody, recordBytes, recordHead, type RecordContent } from './job-record.ts';
import { DICTIONARY } from './record-dictionary.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';

const { ticket, evidence, verdict } = documents(1);
const key = newKey();

const Text = fc.string({ maxLength: 300, unit: 'grapheme' });
const Ms = fc.nat({ max: 2_000_000_000_000 });
const AnAttempt = fc.record({
  worker: Text,
  claimedMs: Ms,
  /** After the claim, where it did. */
  began: fc.option(fc.constantFrom(0, 1, 86_400_000), { nil: undefined }),
  committedMs: fc.option(Ms, { nil: undefined }),
  closed: fc.option(fc.record({ why: fc.constantFrom(...CLOSINGS), atMs: Ms, detail: Text }), { nil: undefined }),
});
const Document = fc.uint8Array({ maxLength: 2_000 }).map((bytes) => signPayload(key, Buffer.from(bytes)));
const Bytes = fc.uint8Array({ maxLength: 5_000 }).map((bytes) => Buffer.from(bytes));
const Content: fc.Arbitrary<RecordContent> = fc.record({
  id: fc.constant(ticket.predicate.job),
  tenant: fc.constant('acme'),
  model: fc.constant('kjv'),
  queue: Text,
  keyId: Text,
  createdMs: Ms,
  deadlineMs: Ms,
  maxAttempts: fc.integer({ min: 1, max: 10 }),
  cancelAskedMs: fc.option(Ms, { nil: undefined }),
  hold: fc.option(fc.nat(), { nil: undefined }),
  surface: fc.option(Text, { nil: undefined }),
  isStored: fc.boolean(),
  attempts: fc.array(AnAttempt, { maxLength: 10 }).map((attempts) =>
    attempts.map(({ began, ...attempt }, at) => ({
      epoch: at + 1,
      ...attempt,
      beganMs: began === undefined ? undefined : attempt.claimedMs + began,
    })),
  ),
  ending: fc.record({ epoch: fc.nat({ max: 10 }), code: Text, detail: Text }),
  ticket: Document,
  evidence: fc.option(Document, { nil: undefined }),
  verdict: fc.option(Document, { nil: undefined }),
  output: fc.option(Bytes, { nil: undefined }),
  salt: fc.option(fc.constant(Buffer.alloc(32, 7)), { nil: undefined }),
});

describe('the record of a job', () => {
  test('says what it was made of, whatever stands in documents, output and texts', () => {
    fc.assert(
      fc.property(
        Content,
        fc.constantFrom(...FINAL_STATES),
        fc.option(fc.nat(), { nil: undefined }),
        Ms,
        (content, state, index, endedMs) => {
          const head = { state, index, endedMs, tenant: content.tenant, model: content.model };
          const bytes = recordBytes(head, recordBody(content));
          expect(recordHead(bytes)).toMatchObject(head);
          const opened = openRecord(bytes);
          // What stands in that place is the answer of a done job, and the question of any other.
          const { output: answer, ...rest } = content;
          const place = state === 'done' ? { output: answer } : { input: answer };
          expect(opened).toEqual({ ...rest, ...place, index, ending: { ...content.ending, state, atMs: endedMs } });
        },
      ),
    );
  });

  test('of an ordinary job, which three parties signed, is short: under 1,000 bytes', () => {
    expect(signed({ ticket, evidence, verdict }).length).toBeGreaterThan(4_000);
    expect(recordBody(aRecord()).length).toBeLessThan(1_000);
  });

  test.each(['', '1 done', '2 done 1 1 acme kjv x', '1 queued 1 1 acme kjv x', '1 done 1 1 acme kjv x'])(
    'is not what %j is',
    (text) => {
      expect(() => openRecord(Buffer.from(text))).toThrow();
    },
  );

  test('of a later version is said to be one', () => {
    expect(() => openRecord(Buffer.from('2 done 1 1 acme kjv x'))).toThrow(
      'The record is of the type record:v2, and this version knows record:v1.',
    );
  });

  test('has the dictionary of its version: other bytes would close every record that was kept', () => {
    expect(sha256Hex(DICTIONARY)).toBe('e1247ecd7edcbed5457a4b0f77ac99d490b0ae345bc338e9cae23ffb4eb0ebf2');
  });
});
