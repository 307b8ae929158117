import { expect, test } from '@jest/globals';
import { OFFER } from '../../../test/support/sample-offer.ts';
import { AdmissionRule } from '../../core/forecast/admission-limits.ts';
import { Appointments } from '../../core/forecast/appointments.ts';
import { lateRefusal } from './late-refusal.ts';

/** The refusal of a job that has five seconds, where so many end first and its answer waits so long. */
function refusal(ends: number, afterMs: number, own: boolean) {
  const offer = { ...OFFER, afterMs };
  const limits = new AdmissionRule(0.99).limits(offer, 5_000, 100);
  const forecast = { weight: 1, cost: 60, slots: 16, offer, limits, perCostMs: 1, turnMs: 60 };
  const job = { flow: 'a', createdMs: 1_000_000, deadlineMs: 1_005_000, notBeforeMs: undefined, forecast };
  const standing = { ends, ahead: ends, distance: own ? ends : 0, ties: own ? 0 : ends, backloggedMs: 0 };
  return lateRefusal(job, standing, new Appointments());
}

test.each([
  ['share_exceeded', 3_000, 5, true],
  ['deadline_unreachable', 3_000, 5, false],
  ['attestation_backlog', 0, 20_000, false],
  ['attestation_backlog', 10, 4_700, true],
  ['deadline_unreachable', 3_000, 4_000, false],
] as const)('%s is what a job is refused for behind %d jobs, its answer %d ms', (code, ends, afterMs, own) => {
  const { headers, message, ...error } = refusal(ends, afterMs, own);
  expect(error.code).toBe(code);
  expect(headers['countersign-reason']).toBe(code);
  if (code === 'attestation_backlog') expect(message).toContain('for its confirmation');
});

test('whoever is refused for the attestors comes back when they have caught up, and not at once', () => {
  expect(Number(refusal(0, 20_000, false).headers['retry-after-ms'])).toBeGreaterThanOrEqual(15_000);
});
