import { z } from 'zod';
import { Policy, Price } from '../../proof/receipts/statements.ts';
import { GROUPS } from '../../surfaces/ledger/usage.store.ts';

const Day = z.iso.date();

/** The query of `GET /v1/usage`. */
export const UsageQuery = z.strictObject({
  from: Day.optional().describe('the first day; `to` by default'),
  to: Day.optional().describe('the last day; today by default'),
  group_by: z
    .string()
    .default('day')
    .transform((text, context) => {
      const names = text.split(',');
      const groups = GROUPS.filter((group) => names.includes(group));
      if (groups.length === names.length) return groups;
      context.addIssue({ code: 'custom', message: `a comma-separated list of ${GROUPS.join(', ')}` });
      return z.NEVER;
    })
    .describe('a comma-separated list of `day`, `key` and `model`'),
});

const Millionths = z.int().describe('millionths of the currency');

export const Account = z.strictObject({ spent: Millionths, held: Millionths });

export const UsageDocument = z.strictObject({
  from: Day,
  to: Day,
  rows: z.array(
    z.strictObject({
      day: Day.optional(),
      key: z.string().optional(),
      model: z.string().optional(),
      jobs: z.int(),
      done: z.int(),
      input_tokens: z.int(),
      output_tokens: z.int(),
      charged: Millionths,
    }),
  ),
  account: Account,
});
export type UsageDocument = z.infer<typeof UsageDocument>;

export const Quote = z.strictObject({
  possible: z.boolean(),
  reason: z
    .strictObject({ code: z.string(), detail: z.string() })
    .nullable()
    .describe('why the job is not possible now'),
  attestation: Policy.nullable(),
  price: Price.nullable(),
  most: Millionths.describe('the most that the job can cost, in millionths of the currency'),
  currency: z.string().nullable(),
  waiting_jobs: z.int(),
  predicted_wait_ms: z
    .int()
    .nullable()
    .describe('until a worker takes it, by the mean time that an engine needs for a job of this model'),
  predicted_run_ms: z.number().nullable().describe('from claim to end, as done jobs of this model took lately'),
});
export type Quote = z.infer<typeof Quote>;
