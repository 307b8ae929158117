import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { attestor, documents, keyringFile, loggedAs, signed } from '../../../test/support/sample-receipts.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes } from '../../proof/receipts/statements.ts';
import { parseProof } from '../../proof/tlog/tlog-proof.ts';
import { recognise } from './recognise.ts';

const { verdict } = documents(1);
const { proof } = loggedAs(signPayload(attestor, statementBytes(verdict)));

test.each([
  ['receipt', signed(documents(1)).toString()],
  ['receipt', JSON.stringify(JSON.parse(signed(documents(1)).toString()), null, 2)],
  ['keyring', JSON.stringify(keyringFile())],
  ['policy', '# ours\nlog example+00000000+AAAA\nquorum none\n'],
  ['policy', keyringFile().logPolicy],
  ['checkpoint', parseProof(proof).checkpoint],
  ['batch', '{"id":"batch_req_1","custom_id":"a","response":null,"error":null}\n{"custom_id":"b"}\n'],
  ['workers', '{"payloadType":"x","payload":"","signatures":[]}'],
  ['response', '{"object":"chat.completion","model":"m","choices":[]}'],
  ['request', '{"model":"m","messages":[]}'],
  ['input', '{"messages":[{"role":"user","content":"x"}]}'],
  ['output', '{"text":"In the beginning","finish_reason":"stop"}'],
  ['output', 'In the beginning'],
  ['output', ''],
])('tells a %s by its own words', (kind, text) => {
  expect(recognise(Buffer.from(text))).toBe(kind);
});

test('takes any bytes for something', () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => recognise(bytes).length > 0));
});
