import { expect, test } from '@jest/globals';
import { readRequest } from './requests.ts';
import { jobOf, ResponseRequest } from './response-request.ts';

const CHAT = { model: 'm', messages: [{ role: 'user', content: 'x' }] };

test.each([
  ['priority', 'interactive', 'priority'],
  ['flex', 'batch', 'flex'],
  ['default', undefined, 'default'],
  ['auto', undefined, 'default'],
  ['whatever', undefined, 'default'],
  [null, undefined, undefined],
  [undefined, undefined, undefined],
])('the tier %s asks for the band %s, and the answer tells of %s', (service_tier, band, told) => {
  const asked = readRequest('/v1/chat/completions', { ...CHAT, service_tier });
  expect(asked.jobs.map((job) => job.band)).toEqual([band]);
  expect(asked.tier).toBe(told);
  const { job, surface } = jobOf(ResponseRequest.parse({ model: 'm', input: 'x', service_tier }));
  expect(job.band).toBe(band);
  expect(surface.service_tier).toBe(told ?? 'default');
});

test('what this service says itself goes before what clients of OpenAI say, and what serves it is told', () => {
  const asked = readRequest('/v1/chat/completions', {
    ...CHAT,
    service_tier: 'flex',
    countersign: { band: 'interactive' },
  });
  expect(asked.jobs[0]?.band).toBe('interactive');
  expect(asked.tier).toBe('priority');
});
