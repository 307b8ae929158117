import { z } from 'zod';
import { CLOSED_PERIOD_TYPE, ClosedPeriod } from '../../proof/contract/closed-period.ts';
import { Envelope } from '../../proof/receipts/dsse.ts';
import { Policy, Price } from '../../proof/receipts/statements.ts';
import { FORMATS } from '../../surfaces/ledger/ledger-lines.ts';
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
const Currency = z.string().describe('a code such as EUR');

export const UsageDocument = z.strictObject({
  from: Day,
  to: Day,
  rows: z.array(
    z.strictObject({
      day: Day.optional(),
      key: z.string().optional(),
      model: z.string().optional(),
      currency: Currency.nullable().describe('of what was charged; null where the jobs had no price'),
      jobs: z.int(),
      done: z.int(),
      input_tokens: z.int(),
      output_tokens: z.int(),
      charged: Millionths,
    }),
  ),
  account: Account.describe('in the currency of the price table of today'),
  accounts: z.array(Account.extend({ currency: Currency })).describe('one for each currency that was ever used'),
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

/** The query of `GET /v1/ledger`. */
export const LedgerQuery = z.strictObject({
  month: z
    .string()
    .regex(/^\d{4}-(0[1-9]|1[0-2])$/)
    .optional()
    .describe('such as 2026-11, UTC; this month by default'),
  format: z.enum(FORMATS).default('jsonl').describe('JSON Lines, or CSV'),
});

export const LedgerPeriods = z.strictObject({
  periods: z
    .array(
      ClosedPeriod.omit({ tenant: true }).extend({
        statement: Envelope.extend({ payloadType: z.literal(CLOSED_PERIOD_TYPE) }).describe(
          'what the month came to, signed by the key that signs tickets; the log has its digest',
        ),
      }),
    )
    .describe('the months that are closed, the first first'),
});
export type LedgerPeriods = z.infer<typeof LedgerPeriods>;
