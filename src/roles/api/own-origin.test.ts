import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { ownOrigin } from './own-origin.ts';

const originOrCode = (host: string): string => {
  try {
    return ownOrigin('http', host);
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
};

describe('where this service is, by the header Host', () => {
  test.each([
    ['api.example', 'http://api.example'],
    ['API.example:8080', 'http://api.example:8080'],
    ['localhost:80', 'http://localhost'],
    ['[::1]:8181', 'http://[::1]:8181'],
    ['127.0.0.1:8181', 'http://127.0.0.1:8181'],
  ])('%s', (host, origin) => expect(ownOrigin('http', host)).toBe(origin));

  test('whatever else it holds is refused, and never another place', () => {
    const broken = [
      '',
      ' ',
      'a b',
      '[',
      '[::1',
      '[1]',
      'a@b',
      'a/b',
      'a\\b',
      '?',
      '#',
      '%',
      'a:99999',
      'a:1:1',
      'ä',
      '1.2.3.4.5',
    ];
    expect(broken.map(originOrCode)).toEqual(broken.map(() => 'request_invalid'));
    const anything = fc.oneof(fc.string(), fc.stringMatching(/^[\w.:[\]@/?#%\\-]{0,20}$/));
    fc.assert(
      fc.property(anything, (host) => {
        const origin = originOrCode(host);
        if (origin !== 'request_invalid') expect(new Request(`${origin}/mcp`).url).toBe(`${origin}/mcp`);
      }),
    );
  });
});
