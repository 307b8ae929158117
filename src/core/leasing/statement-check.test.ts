import { describe, expect, test } from '@jest/globals';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { generateSigningKeyPem, signingKeyFromPem, workerIdOf } from '../../ground/keys/signing-key.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import { RELEASE_TYPE, STATEMENT_TYPE, statementBytes, type Release } from '../../proof/receipts/statements.ts';
import { checkedRelease } from './statement-check.ts';

const key = signingKeyFromPem(generateSigningKeyPem());
const other = signingKeyFromPem(generateSigningKeyPem());
const JOB = `job_${'0'.repeat(30)}`;

function release(change: Partial<Release['predicate']> = {}): Release {
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'ticket', digest: { sha256: sha256Hex('ticket') } }],
    predicateType: RELEASE_TYPE,
    predicate: {
      job: JOB,
      epoch: 2,
      worker: { id: workerIdOf(key.public), publicKey: key.public.raw },
      code: 'drained',
      detail: '',
      at: '2026-01-01T00:00:00.000Z',
      ...change,
    },
  };
}

const stored = (statement: Release, signer = key) => encodeStored(signPayload(signer, statementBytes(statement)));
const check = (statement: string, job = JOB, epoch = 2) => checkedRelease(key.public, { job, epoch, statement });

describe('a statement about a lease', () => {
  test('is taken where the worker signed it about this job and this epoch', () => {
    expect(check(stored(release())).payload.toString()).toBe(statementBytes(release()).toString());
  });

  test.each<[string, () => unknown]>([
    ['signed by another', () => check(stored(release(), other))],
    ['of another job', () => check(stored(release({ job: `job_${'1'.repeat(30)}` })))],
    ['of another epoch', () => check(stored(release({ epoch: 1 })))],
    [
      'in the name of another',
      () => check(stored(release({ worker: { id: workerIdOf(other.public), publicKey: '' } }))),
    ],
    ['changed after it was signed', () => check(stored(release()).replace('drained', 'barred'))],
    ['no statement', () => check(encodeStored(signPayload(key, Buffer.from('{}'))))],
    ['no JSON', () => check(encodeStored(signPayload(key, Buffer.from('{'))))],
    ['in no stored form', () => check('anything')],
  ])('%s is refused', (_, say) => {
    expect(say).toThrow(expect.objectContaining({ code: 'statement_invalid' }));
  });
});
