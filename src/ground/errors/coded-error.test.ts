import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { messageOf } from './coded-error.ts';

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('the message of what was thrown', () => {
  const shape = z.strictObject({ version: z.literal(1), keys: z.array(z.object({ id: z.string() })) });

  test.each<[unknown, RegExp]>([
    [null, /^the document: /],
    [{ version: 2, keys: [] }, /^version: /],
    [{ version: 1, keys: [{ id: 5 }] }, /^keys\.0\.id: /],
    [{ version: 1, keys: [], more: 1 }, /more/],
  ])('names the first fault of %j in one line, and no JSON', (value, expected) => {
    const message = messageOf(thrownBy(() => shape.parse(value)));
    expect(message).toMatch(expected);
    expect(message).not.toMatch(/[\n{[]/);
  });

  test('says in words what is wrong with a file', () => {
    expect(messageOf(thrownBy(() => readFileSync('/none/of/it')))).toBe('there is no such file (ENOENT)');
    expect(messageOf(thrownBy(() => readFileSync('/')))).toBe('it is a folder (EISDIR)');
    expect(messageOf(thrownBy(() => readdirSync('/dev/null')))).toBe('a part of the path is no folder (ENOTDIR)');
  });

  test('is that of any other error, and the text of what is none', () => {
    expect([messageOf(new Error('x')), messageOf('y'), messageOf(undefined)]).toEqual(['x', 'y', 'undefined']);
  });
});
