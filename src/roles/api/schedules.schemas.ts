import { z } from 'zod';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { Price } from '../../proof/receipts/statements.ts';
import { JOB_STATES } from '../../proof/contract/job-states.ts';
import { MAX_CRON_LENGTH, parseCron } from '../../surfaces/schedules/cron-expression.ts';
import { CATCH_UPS, OUTCOMES, OVERLAPS } from '../../surfaces/schedules/schedule.ts';
import { isTimeZone } from '../../surfaces/schedules/time-zone.ts';

const Time = z.iso.datetime();
const GivenTime = z.iso.datetime({ offset: true });

const Cron = z
  .string()
  .max(MAX_CRON_LENGTH)
  .superRefine((text, context) => {
    try {
      parseCron(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: messageOf(error) });
    }
  })
  .describe('minute, hour, day of month, month, weekday, as in crontab; or `@hourly`, `@daily`, `@weekly`, …');
const Timezone = z
  .string()
  .refine(isTimeZone, { message: 'must be the name of a time zone, such as Europe/Berlin' })
  .describe('the time zone whose clock the expression names, an IANA name');
const Name = z.string().max(200);
const Metadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((metadata) => Object.keys(metadata).length <= 16, { message: 'at most 16 pairs' });
const Overlap = z
  .enum(OVERLAPS)
  .describe(
    'while the job of the time before has not ended: `skip` this time, `queue` one time behind it, or `allow` both',
  );
const CatchUp = z
  .enum(CATCH_UPS)
  .describe(
    'of times at which the service was away for more than a minute: `none`, or the `newest` one, is made up for',
  );

export const CreateSchedule = z.strictObject({
  cron: Cron,
  timezone: Timezone.default('UTC'),
  request: SubmitJob.describe('what is submitted each time, as `POST /v1/jobs` takes it; at most 64 KiB'),
  name: Name.default(''),
  metadata: Metadata.default({}),
  overlap: Overlap.default('skip'),
  catch_up: CatchUp.default('none'),
  start_at: GivenTime.nullable().default(null).describe('nothing is due before'),
  end_at: GivenTime.nullable().default(null).describe('nothing is due after'),
});
export type CreateSchedule = z.infer<typeof CreateSchedule>;

export const ChangeSchedule = z.strictObject({
  cron: Cron.optional(),
  timezone: Timezone.optional(),
  name: Name.optional(),
  metadata: Metadata.optional(),
  overlap: Overlap.optional(),
  catch_up: CatchUp.optional(),
  start_at: GivenTime.nullable().optional(),
  end_at: GivenTime.nullable().optional(),
  paused: z
    .boolean()
    .optional()
    .describe('`false` resumes it from now on, under the API key that says so where that may read its answers'),
});
export type ChangeSchedule = z.infer<typeof ChangeSchedule>;

const SUMMARY = {
  id: z.string(),
  name: z.string(),
  metadata: z.record(z.string(), z.string()),
  state: z.enum(['active', 'paused', 'ended']).describe('`ended`: it has no due time to come'),
  cron: z.string(),
  timezone: z.string(),
  overlap: z.enum(OVERLAPS),
  catch_up: z.enum(CATCH_UPS),
  start_at: Time.nullable(),
  end_at: Time.nullable(),
  model: z.string(),
  key: z.string().describe('the id of the API key under which its jobs are submitted'),
  created_at: Time,
  paused_at: Time.nullable(),
  paused_because: z.string().nullable(),
  next: z.array(Time).describe('the next due times, five at most; none while it is paused'),
  waiting: z
    .strictObject({
      due_at: Time,
      why: z.strictObject({ code: z.string(), detail: z.string() }).nullable(),
    })
    .nullable()
    .describe('a due time whose job is not submitted yet, and why; without a reason it waits for the job before it'),
};

export const ScheduleSummary = z.strictObject(SUMMARY);
export type ScheduleSummary = z.infer<typeof ScheduleSummary>;

export const ScheduleRun = z.strictObject({
  due_at: Time,
  until: Time.nullable().describe('of a stretch of missed times, the last'),
  at: Time.describe('when that was decided'),
  outcome: z
    .enum(OUTCOMES)
    .describe('`submitted`, `skipped` by the overlap policy, `refused` by admission, or `missed` while nobody ran'),
  reason: z.strictObject({ code: z.string().nullable(), detail: z.string() }).nullable(),
  job: z.string().nullable(),
  state: z.enum(JOB_STATES).nullable().describe('of the job now; null where it is no longer kept'),
  links: z.strictObject({ job: z.string().nullable(), receipt: z.string().nullable() }),
});
export type ScheduleRun = z.infer<typeof ScheduleRun>;

export const ScheduleDocument = z.strictObject({
  ...SUMMARY,
  request: SubmitJob.nullable().describe('null where the key may not read what other keys of the tenant ask'),
  price: Price.nullable().describe('what each job may cost now; null where the model is free or cannot be had'),
  runs: z.array(ScheduleRun).describe('the last 50, newest first'),
});
export type ScheduleDocument = z.infer<typeof ScheduleDocument>;

export const ScheduleList = z.strictObject({ schedules: z.array(ScheduleSummary), most: z.int() });
export type ScheduleList = z.infer<typeof ScheduleList>;

export const DeletedSchedule = z.strictObject({ id: z.string(), deleted: z.literal(true) });
export type DeletedSchedule = z.infer<typeof DeletedSchedule>;
