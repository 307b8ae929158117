import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { apiUrl, labelOf, numberOf, readDocument, timeOf } from './arguments.ts';

describe('arguments of the command line', () => {
  test.each(['x', '1e999', '1,5', '-'])('"%s" is no number', (text) => {
    expect(() => numberOf(text)).toThrow('must be a number');
  });

  test('times are read in any zone and kept in UTC', () => {
    expect(timeOf('2026-11-21T10:00:00+02:00')).toBe('2026-11-21T08:00:00.000Z');
    expect(() => timeOf('yesterday')).toThrow('must be a time');
  });

  test('a label may hold further equals signs in its value', () => {
    expect(labelOf('rack=7=8')).toEqual(['rack', '7=8']);
    expect(labelOf('rack')).toEqual(['rack', '']);
  });

  test('a file that is not there, no JSON, or of another form is an error that names it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-arguments-'));
    const path = join(folder, 'a.json');
    const said = () => {
      try {
        readDocument(z.strictObject({ a: z.number() }), path);
        return 'none';
      } catch (error) {
        return error instanceof CodedError ? `${error.code}: ${error.message}` : String(error);
      }
    };
    try {
      expect(said()).toContain(`request_invalid: ${path} cannot be read as JSON`);
      writeFileSync(path, '{');
      expect(said()).toContain(`request_invalid: ${path} cannot be read as JSON`);
      writeFileSync(path, '{"a":"b"}');
      expect(said()).toContain(`request_invalid: ${path} does not have the expected form`);
      writeFileSync(path, '{"a":1}');
      expect(said()).toBe('none');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('an address of an API', () => {
  test.each([
    ['localhost:8181', 'http://localhost:8181'],
    ['127.0.0.1:8181/', 'http://127.0.0.1:8181'],
    ['[::1]:8181/log', 'http://[::1]:8181/log'],
    ['https://api.example/base//', 'https://api.example/base'],
    ['http://10.0.0.1', 'http://10.0.0.1'],
  ])('%s is %s', (typed, url) => {
    expect(apiUrl(typed)).toBe(url);
  });

  test.each(['api.example', 'localhost.evil.example', 'ftp://api.example', 'http://', '8181', ''])(
    '%j is refused: it would be a guess whether a key may go there in the clear',
    (typed) => {
      expect(() => apiUrl(typed)).toThrow('is no address of an API');
    },
  );
});
