import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Appointments } from '../../core/forecast/appointments.ts';
import { excessOf, type Standing } from '../../core/forecast/admission-limits.ts';
import { startOf, toldOf, type Offer } from '../../core/forecast/offer.ts';
import type { Forecast } from '../../core/forecast/outlooks.ts';
import { endAt } from '../../core/forecast/told.ts';

/** A longer time than this is obeyed by no client of OpenAI's: it would come back at once. */
const OBEYED_MS = 60_000;

/** A job that was not admitted, because it would begin too late. */
export interface LateJob {
  readonly flow: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  readonly notBeforeMs: number | undefined;
  readonly forecast: Forecast;
}

/**
 * The refusal of a job that would begin too late. Where it would be in time if its flow had not taken its
 * share already, the reason is the share; else nobody could be served in that time. Where most of that time
 * is that of the attestors, they are the reason, for whoever asks. `Retry-After` is an appointment: those of
 * one flow come back one after the other.
 */
export function lateRefusal(job: LateJob, standing: Standing, appointments: Appointments): CodedError {
  const { flow, forecast, createdMs, deadlineMs } = job;
  const leadMs = Math.max(0, (job.notBeforeMs ?? createdMs) - createdMs);
  const { offer, limits, turnMs } = forecast;
  const isUnconfirmed = isForConfirmation(offer, standing);
  const lateMs = isUnconfirmed ? leadMs + offer.ownMs + offer.afterMs - (deadlineMs - createdMs) : 0;
  const excessMs = Math.max(lateMs, excessOf(offer, limits, standing));
  const afterMs = appointments.give({ flow, excessMs, turnMs }, Date.now(), Math.random());
  const served = isBeyondShare(forecast, standing) ? 'share_exceeded' : 'deadline_unreachable';
  const code = isUnconfirmed ? 'attestation_backlog' : served;
  const endMs = Math.round(leadMs + endAt(toldOf(offer, standing), 'z50'));
  const end = new Date(createdMs + endMs).toISOString();
  const waits = isUnconfirmed
    ? `its answer would wait ${seconds(offer.afterMs)} s for its confirmation`
    : `${standing.ends} jobs are to end first`;
  const detail =
    code === 'share_exceeded'
      ? `Your share of the workers is taken: ${waits}, and the job would end in about ${seconds(endMs)} s.`
      : `The job would end in about ${seconds(endMs)} s, and is to end within ${seconds(deadlineMs - createdMs)} s; ${waits}.`;
  return new CodedError(code, detail, {
    hint: `come back in ${seconds(afterMs)} s, or give the job more time with deadline_ms`,
    headers: {
      'retry-after': String(Math.max(1, Math.ceil(afterMs / 1_000))),
      'retry-after-ms': String(afterMs),
      'countersign-reason': code,
      'countersign-predicted-end': end,
      ...(afterMs > OBEYED_MS ? { 'x-should-retry': 'false' } : {}),
    },
  });
}

/** Whether it is late for its confirmation more than for its wait or its engine. */
function isForConfirmation(offer: Offer, standing: Standing): boolean {
  return offer.afterMs > Math.max(startOf(offer, standing), offer.ownMs);
}

/** Whether the same job would be admitted if its flow had nothing waiting. */
function isBeyondShare({ offer, limits }: Forecast, { ends, ahead, ties, distance }: Standing): boolean {
  return distance > 0 && startOf(offer, { ends: ends - ahead + ties, distance: 0 }) <= limits.withinMs;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(ms < 10_000 ? 1 : 0);
}
