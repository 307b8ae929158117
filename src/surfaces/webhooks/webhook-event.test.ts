import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { api, attestor, documents } from '../../../test/support/sample-receipts.ts';
import { EVENT_TYPES } from '../../proof/contract/event-types.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes } from '../../proof/receipts/statements.ts';
import { jobDocument } from '../../roles/api/job-document.ts';
import { erasedOf } from '../../core/jobs/erased-record.ts';
import type { JobRecord } from '../../core/jobs/job-record.ts';
import { viewOf, type JobView } from '../../core/jobs/job.reader.ts';
import { FINAL_EVENT_TYPES, batchEvent, jobEvents } from './webhook-event.ts';

const QUEUED: JobView = {
  id: 'job_000000000000000000000000000000',
  tenant: 'acme',
  model: 'kjv',
  queue: 'default.kjv',
  createdMs: 1_790_000_000_000,
  deadlineMs: 1_790_000_600_000,
  notBeforeMs: undefined,
  priority: undefined,
  band: undefined,
  maxAttempts: 3,
  cancelAskedMs: undefined,
  ticket: '',
  attempts: [],
  keyId: '',
  hold: undefined,
  surface: undefined,
  isStored: true,
  ending: undefined,
  state: 'queued',
  record: undefined,
  erased: undefined,
};

describe('events of a job', () => {
  test('begin with queued, and name the job without its tenant', () => {
    const [event, ...more] = jobEvents(QUEUED);
    expect(more).toEqual([]);
    expect(event?.type).toBe('job.queued');
    expect(JSON.parse(event?.body ?? '')).toMatchObject({
      type: 'job.queued',
      timestamp: '2026-09-21T14:13:20.000Z',
      data: { state: 'queued', model: 'kjv', links: { self: `/v1/jobs/${QUEUED.id}` } },
    });
    expect(event?.body).not.toContain('acme');
  });

  test('of an ending are one for each final state, all of which can be subscribed to', () => {
    expect(FINAL_EVENT_TYPES).toEqual(['job.done', 'job.rejected', 'job.failed', 'job.cancelled', 'job.expired']);
    for (const type of FINAL_EVENT_TYPES) expect(EVENT_TYPES).toContain(type);
  });
});

describe('the message of a done job', () => {
  const { ticket, evidence, verdict } = documents(1);
  const record: JobRecord = {
    id: ticket.predicate.job,
    tenant: 'acme',
    model: 'kjv',
    queue: 'default.kjv',
    keyId: '',
    createdMs: QUEUED.createdMs,
    deadlineMs: QUEUED.deadlineMs,
    maxAttempts: 3,
    cancelAskedMs: undefined,
    hold: undefined,
    surface: undefined,
    isStored: true,
    attempts: [],
    ending: { state: 'done', atMs: QUEUED.createdMs + 2, epoch: 1, code: '', detail: '' },
    ticket: signPayload(api, statementBytes(ticket)),
    evidence: signPayload(attestor, statementBytes(evidence)),
    verdict: signPayload(attestor, statementBytes(verdict)),
    output: undefined,
    salt: undefined,
    index: 7,
  };
  const Told = z.object({ data: z.looseObject({ confirmed_by: z.unknown(), not_checked: z.unknown() }) });

  test.each([
    ['kept', viewOf(record)],
    ['erased', viewOf(erasedOf(record, 1))],
  ])('that is %s says how it was confirmed, in the words of the job document', (_, view) => {
    const told = jobEvents(view).find(({ type }) => type === 'job.done');
    const { confirmed_by, not_checked } = jobDocument(view);
    expect(confirmed_by).toContain('recompute');
    expect(Told.parse(JSON.parse(told?.body ?? '')).data).toMatchObject({ confirmed_by, not_checked });
  });

  test('of any other end says nothing of a confirmation, though a verdict is there', () => {
    for (const state of ['rejected', 'failed', 'cancelled', 'expired'] as const) {
      const ending = { state, atMs: 1, epoch: 1, code: '', detail: '' };
      expect(jobEvents(viewOf({ ...record, ending })).at(-1)?.body).not.toContain('confirmed_by');
    }
  });
});

describe('the event of a batch', () => {
  test.each(['completed', 'failed', 'expired', 'cancelled'])('that is %s is named so', (status) => {
    const event = batchEvent({ id: 'batch_1', status }, 0);
    expect(event?.type).toBe(`batch.${status}`);
    expect(JSON.parse(event?.body ?? '')).toMatchObject({ timestamp: '1970-01-01T00:00:00.000Z', data: { status } });
  });

  test.each(['validating', 'in_progress', 'finalizing', 'cancelling'])('that is %s does not exist', (status) => {
    expect(batchEvent({ id: 'batch_1', status }, 0)).toBeUndefined();
  });
});
