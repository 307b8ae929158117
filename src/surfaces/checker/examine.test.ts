import { describe, expect, test } from '@jest/globals';
import {
  attestor,
  checkpointOf,
  documents,
  keyring,
  keyringFile,
  loggedAs,
  newKey,
  signed,
} from '../../../test/support/sample-receipts.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { Keyring } from '../../proof/receipts/keyring.ts';
import { ReceiptFile } from '../../proof/receipts/receipt.ts';
import { statementBytes } from '../../proof/receipts/statements.ts';
import { cosignNote, formatSignature, formatVkey, noteKey } from '../../proof/tlog/signed-note.ts';
import { parseProof } from '../../proof/tlog/tlog-proof.ts';
import { examine, type Held } from './examine.ts';
import { trustInGiven } from './trust.ts';

const trusted = { keyring, ...trustInGiven('keyring.json') };
const OUTPUT = { text: 'In the beginning', finish_reason: 'stop' };

/** A receipt whose output is `OUTPUT`. */
function answered(): { receipt: Buffer; job: string } {
  const { ticket, evidence, verdict } = documents(8);
  const digest = { sha256: sha256Hex(JSON.stringify(OUTPUT)) };
  const told = { ...evidence, subject: [{ name: 'output' as const, digest }] as typeof evidence.subject };
  const judged = {
    ...verdict,
    subject: [
      { name: 'evidence' as const, digest: { sha256: sha256Hex(statementBytes(told)) } },
      { name: 'output' as const, digest },
    ] as typeof verdict.subject,
  };
  return { receipt: signed({ ticket, evidence: told, verdict: judged }), job: ticket.predicate.job };
}

const { receipt, job } = answered();
const resultOf = (step: string, held: Held, by = trusted) => {
  const { answer } = examine(receipt, by, held);
  const line = answer.transcript.find((one) => one.step === step);
  return [answer.verified, line?.result];
};

const completion = (text: string, of = job) => ({
  object: 'text_completion',
  model: 'kjv-1m',
  choices: [{ text, finish_reason: 'stop' }],
  countersign: { job_id: of },
});
const lineOf = (text: string, of = job) =>
  `${JSON.stringify({ id: 'r', custom_id: 'a "b"', response: { status_code: 200, request_id: of, body: completion(text, of) }, error: null })}\n`;

describe('what is compared with a receipt', () => {
  test('an output, a response and the line of a batch pass where they are what was confirmed', () => {
    const output = Buffer.from(JSON.stringify(OUTPUT));
    const response = Buffer.from(JSON.stringify(completion(OUTPUT.text)));
    const others = lineOf('x', 'job_other');
    const failed = `${JSON.stringify({ id: 'r', custom_id: 'c', response: null, error: null, countersign: { done: [{ job_id: job, output: OUTPUT }] } })}\n`;
    for (const held of [
      { output },
      { response },
      { batch: Buffer.from(`${others}${lineOf(OUTPUT.text)}`) },
      { batch: Buffer.from(`${others}${failed}`) },
    ])
      expect(resultOf('output', held)).toEqual([true, 'PASS']);
    const { answer } = examine(receipt, trusted, { output, response });
    expect(answer.transcript.find(({ step }) => step === 'output')?.note).toContain('; answer 0 of the 1');
  });

  test('anything else fails at that line alone', () => {
    for (const held of [
      { output: Buffer.from('x') },
      { response: Buffer.from(JSON.stringify(completion('x'))) },
      { batch: Buffer.from(lineOf('x')) },
      { batch: Buffer.from(lineOf(OUTPUT.text, 'job_other')) },
      {
        batch: Buffer.from(
          `${JSON.stringify({ custom_id: 'c', countersign: { done: [{ job_id: job, output: 1 }] } })}\n`,
        ),
      },
    ]) {
      expect(resultOf('output', held)).toEqual([false, 'FAIL']);
      expect(resultOf('log', held)).toEqual([false, 'PASS']);
    }
  });

  test('what is no file of its kind verifies nothing', () => {
    for (const held of [
      { response: Buffer.from('{') },
      { request: Buffer.from('[]') },
      { batch: Buffer.from(`${job}\n`) },
      { batch: Buffer.from(`{"request_id":"${job}"}\n`) },
      { checkpoint: Buffer.from('x') },
      { workers: Buffer.from('x') },
    ])
      expect(() => examine(receipt, trusted, held)).toThrow(CodedError);
  });
});

describe('a checkpoint that was kept', () => {
  const own = parseProof(ReceiptFile.parse(JSON.parse(receipt.toString())).log.proof).checkpoint;
  const otherProof = loggedAs(signPayload(attestor, statementBytes(documents(9).verdict))).proof;

  test('of the same size and root passes, and names the witnesses who signed it', () => {
    const key = newKey();
    const by = noteKey('witness.example', 'cosignature/v1', key.public);
    const policy = `witness w ${formatVkey(by)}\nquorum none\n`;
    const text = own.slice(0, own.lastIndexOf('\n\n') + 1);
    const cosigned = `${own}${formatSignature(cosignNote(text, 'witness.example', key, 1_790_000_000))}`;
    const watched = { ...trusted, keyring: new Keyring(keyringFile(policy)) };
    expect(resultOf('checkpoint', { checkpoint: Buffer.from(own) })).toEqual([true, 'PASS']);
    const { answer } = examine(receipt, watched, { checkpoint: Buffer.from(cosigned) });
    expect(answer.transcript.find(({ step }) => step === 'checkpoint')?.note).toMatch(/; signed by w$/);
  });

  test('of the same size and another root shows that the log has signed two histories', () => {
    const checkpoint = Buffer.from(parseProof(otherProof).checkpoint);
    expect(resultOf('checkpoint', { checkpoint })).toEqual([false, 'FAIL']);
    expect(examine(receipt, trusted, { checkpoint }).answer).toMatchObject({ reason: 'not_logged' });
  });

  test('by another key is refused, and says nothing of the receipt', () => {
    const forged = loggedAs(signPayload(attestor, statementBytes(documents(9).verdict)), newKey()).proof;
    expect(() => examine(receipt, trusted, { checkpoint: Buffer.from(parseProof(forged).checkpoint) })).toThrow(
      CodedError,
    );
  });

  test('of another size is skipped, and never passes', () => {
    for (const size of [1, 3, 1_000]) {
      const checkpoint = Buffer.from(checkpointOf(size, Buffer.alloc(32)));
      expect(resultOf('checkpoint', { checkpoint })).toEqual([true, 'SKIP']);
    }
  });
});
