import { expect, test } from '@jest/globals';
import { allowedMethods } from './allowed-methods.ts';

test.each([
  ['/v1/chat/completions', 'POST'],
  ['/v1/chat/completions/?x=1', 'POST'],
  ['/v1/jobs', 'POST, GET, HEAD'],
  ['/v1/jobs/job_1', 'GET, HEAD, DELETE'],
  ['/.well-known/countersign.json', 'GET, HEAD'],
  ['/log/tile/0/000', 'GET, HEAD'],
  ['/v1/audio/speech', undefined],
  ['/xwell-known/countersign.json', undefined],
])('%s has %s', (url, methods) => {
  expect(allowedMethods(url)).toBe(methods);
});
