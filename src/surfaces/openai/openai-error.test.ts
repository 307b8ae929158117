import { expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { openAiError, retryHeaders } from './openai-error.ts';

test.each([
  ['spend_exceeded', 'insufficient_quota'],
  ['rate_limited', 'rate_limit_error'],
  ['unauthenticated', 'authentication_error'],
  ['scope_missing', 'permission_error'],
  ['overloaded', 'server_error'],
  ['request_invalid', 'invalid_request_error'],
] as const)('%s has the type %s', (code, type) => {
  expect(openAiError(new CodedError(code, 'x', { param: 'model' })).error).toMatchObject({
    code,
    type,
    param: 'model',
  });
});

test('a client tries again what may pass, and nothing that cannot change or would come too early', () => {
  const headers = (seconds: string) => ({ headers: { 'retry-after': seconds } });
  expect(retryHeaders(new CodedError('overloaded', 'x'))).toEqual({ 'x-should-retry': 'true', 'retry-after': '1' });
  expect(retryHeaders(new CodedError('rate_limited', 'x', headers('5')))).toEqual({ 'x-should-retry': 'true' });
  expect(retryHeaders(new CodedError('rate_limited', 'x', headers('600')))).toEqual({ 'x-should-retry': 'false' });
  expect(retryHeaders(new CodedError('answer_refuted', 'x'))).toEqual({ 'x-should-retry': 'false' });
  expect(retryHeaders(new CodedError('request_invalid', 'x'))).toEqual({});
});
