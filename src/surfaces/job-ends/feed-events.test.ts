import { describe, expect, test } from '@jest/globals';
import type { Endpoint } from '../webhooks/webhook.store.ts';
import { feedEvents } from './feed-events.ts';

const EVENTS = [
  { rank: 10, type: 'job.queued', body: '1' },
  { rank: 19, type: 'job.done', body: '2' },
] as const;

function endpoint(id: string, change: Partial<Endpoint> = {}): Endpoint {
  return {
    id,
    url: `https://example.com/${id}`,
    events: ['job.done'],
    format: 'standard',
    description: '',
    createdMs: 0,
    disabledMs: null,
    disabledBecause: null,
    changedMs: 0,
    generation: 1,
    sealed: '',
    previous: [],
    ...change,
  };
}

const targets = (endpoints: Endpoint[], jobWebhook: string) =>
  feedEvents('job_x', EVENTS, endpoints, { webhook: jobWebhook, trace: '' }).map(({ messages }) =>
    messages.map(({ fields }) => fields['url']),
  );

describe('events of a feed', () => {
  test('go to every endpoint that subscribes to them and is enabled, and to no other', () => {
    const endpoints = [
      endpoint('a'),
      endpoint('b', { disabledMs: 1 }),
      endpoint('c', { events: ['job.queued', 'job.done'] }),
    ];
    expect(targets(endpoints, '')).toEqual([
      ['https://example.com/c'],
      ['https://example.com/a', 'https://example.com/c'],
    ]);
  });

  test("go to the job's own address, for its end unless the job names other events", () => {
    expect(targets([], '{"url":"https://own"}')).toEqual([[], ['https://own']]);
    expect(targets([], '{"url":"https://own","events":["job.queued"]}')).toEqual([['https://own'], []]);
  });

  test('are in the feed also without any endpoint', () => {
    expect(
      feedEvents('job_x', EVENTS, [], { webhook: '', trace: '' }).map(({ rank, type, data }) => [rank, type, data]),
    ).toEqual([
      [10, 'job.queued', '1'],
      [19, 'job.done', '2'],
    ]);
  });

  test('have one id for each endpoint, the same whenever they are recorded', () => {
    const ids = (subject: string) =>
      feedEvents(subject, EVENTS, [endpoint('a'), endpoint('c', { events: ['job.queued', 'job.done'] })], {
        webhook: '{"url":"https://own"}',
        trace: '',
      }).flatMap(({ messages }) => messages.map(({ id }) => id));
    expect(ids('job_x')).toEqual(ids('job_x'));
    expect(new Set([...ids('job_x'), ...ids('job_y')]).size).toBe(8);
    expect(ids('job_x')[0]).toMatch(/^msg_[0-9a-f]{32}$/);
  });
});
