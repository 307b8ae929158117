import { CronExpressionParser } from 'cron-parser';
import { messageOf } from '../../ground/errors/coded-error.ts';

/** The times of day, and the days, that an expression names; each list sorted, without repetition. */
export interface CronExpression {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly daysOfMonth: ReadonlySet<number>;
  /** From 1 to 12. */
  readonly months: ReadonlySet<number>;
  /** From 0, Sunday, to 6. */
  readonly weekdays: ReadonlySet<number>;
  /** Whether both kinds of days are restricted: then a day needs to be one of either kind only. */
  readonly isEitherDay: boolean;
}

/** The longest expression that is read. */
export const MAX_CRON_LENGTH = 200;

const ITEM = String.raw`(?:\*|(?:\d{1,2}|[A-Za-z]{3})(?:-(?:\d{1,2}|[A-Za-z]{3}))?)(?:/\d{1,4})?`;
const FIELD = `${ITEM}(?:,${ITEM})*`;
const FIVE_FIELDS = new RegExp(`^${FIELD}(?:[ \\t]+${FIELD}){4}$`);

/** The names that stand for five fields. */
const NAMED = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'];

/**
 * Reads the five fields of crontab(5), minute, hour, day of month, month and weekday, or one of its names
 * such as `@daily`. The parser knows more (seconds, `L`, `#`, `H`), which other programs read differently or
 * not at all; that is refused. Throws an Error whose message is one sentence for whoever wrote the
 * expression.
 */
export function parseCron(text: string): CronExpression {
  const trimmed = text.trim();
  if (trimmed.length > MAX_CRON_LENGTH || (!FIVE_FIELDS.test(trimmed) && !NAMED.includes(trimmed)))
    throw new Error(`must be five fields as in crontab, such as "30 2 * * 1-5", or one of ${NAMED.join(', ')}`);
  const fields = fieldsOf(trimmed);
  return {
    minutes: numbersOf(fields.minute.values),
    hours: numbersOf(fields.hour.values),
    daysOfMonth: new Set(numbersOf(fields.dayOfMonth.values)),
    months: new Set(numbersOf(fields.month.values)),
    // Sunday is 0 and 7.
    weekdays: new Set(numbersOf(fields.dayOfWeek.values).map((day) => day % 7)),
    isEitherDay: !fields.dayOfMonth.isWildcard && !fields.dayOfWeek.isWildcard,
  };
}

function fieldsOf(text: string) {
  try {
    return CronExpressionParser.parse(text).fields;
  } catch (cause) {
    throw new Error(`cannot be read: ${messageOf(cause).replace(/\.$/, '')}`, { cause });
  }
}

function numbersOf(values: readonly (number | string)[]): number[] {
  return values.map(Number).toSorted((a, b) => a - b);
}

/** Whether an expression names this day of the calendar. `weekday` is 0 for Sunday. */
export function isNamedDay(
  { months, daysOfMonth, weekdays, isEitherDay }: CronExpression,
  { month, day, weekday }: { readonly month: number; readonly day: number; readonly weekday: number },
): boolean {
  if (!months.has(month)) return false;
  const [byDate, byWeekday] = [daysOfMonth.has(day), weekdays.has(weekday)];
  return isEitherDay ? byDate || byWeekday : byDate && byWeekday;
}
