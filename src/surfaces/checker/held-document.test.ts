import { expect, test } from '@jest/globals';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { heldDocument } from './held-document.ts';

const OUTPUT = '{"text":"In the beginning \u00e9","finish_reason":"stop"}';
const held = (text: string) => heldDocument(Buffer.from(text), sha256Hex(OUTPUT));

test('a document is the same with a line feed that was added, or as JSON that was written in another way', () => {
  expect(held(OUTPUT)).toEqual({ bytes: Buffer.from(OUTPUT), note: undefined });
  for (const end of ['\n', '\r\n', '\n\n']) expect(held(`${OUTPUT}${end}`).note).toContain('line feeds');
  for (const spelled of [JSON.stringify(JSON.parse(OUTPUT), null, 2), OUTPUT.replace('\u00e9', '\\u00e9')]) {
    expect(held(spelled).note).toContain('as JSON');
    expect(held(spelled).bytes.toString()).toBe(OUTPUT);
  }
});

test('another document stays another', () => {
  for (const other of ['', '\n', 'x', `${OUTPUT}x`, OUTPUT.replace('In', 'At'), '{"finish_reason":"stop"}'])
    expect(held(other)).toEqual({ bytes: Buffer.from(other), note: undefined });
});
