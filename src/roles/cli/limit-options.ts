import type { Command } from 'commander';
import type { z } from 'zod';
import { BUDGETS, Limits, TenantLimits } from '../../surfaces/tenants/limits.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { numberOf } from './arguments.ts';

/** What a tenant or a key may use, as it is given on the command line. */
export interface LimitFlags {
  readonly requests?: number;
  readonly tokens?: number;
  readonly jobs?: number;
  readonly spend?: number;
  readonly limit?: Readonly<Record<string, number>>;
}

const OTHER_NAMES = ['running_jobs', 'running_jobs_per_model', ...BUDGETS.map(({ name }) => name)].join(', ');
const OF_TENANTS = `${OTHER_NAMES}, file_bytes and weight`;

/** One more limit by its name. */
function namedLimit(text: string, before: Readonly<Record<string, number>>): Record<string, number> {
  const [name = '', amount = ''] = text.split('=');
  return { ...before, [name]: numberOf(amount) };
}

/** Adds the flags of limits to a command, of a key or of a tenant. */
export function limited(command: Command, whose: 'key' | 'tenant'): Command {
  return command
    .option('--requests <n>', 'requests per minute', numberOf)
    .option('--tokens <n>', 'tokens per minute', numberOf)
    .option('--jobs <n>', 'open jobs at once', numberOf)
    .option('--spend <n>', 'what may be spent in all, in millionths of the currency', numberOf)
    .option(
      '--limit <name=n>',
      `a limit by its name; also ${whose === 'key' ? OTHER_NAMES : OF_TENANTS}`,
      namedLimit,
      {},
    );
}

/**
 * The limits of a key that the flags set; what is not named is not limited. Throws CodedError
 * `request_invalid`.
 */
export function limitsOf(flags: LimitFlags): Limits {
  return parsedBy(Limits, flags);
}

/** Those of a tenant. Throws CodedError `request_invalid`. */
export function tenantLimitsOf(flags: LimitFlags): TenantLimits {
  return parsedBy(TenantLimits, flags);
}

function parsedBy<Parsed>(schema: z.ZodType<Parsed>, { requests, tokens, jobs, spend, limit }: LimitFlags): Parsed {
  const parsed = schema.safeParse({
    ...limit,
    ...(requests === undefined ? {} : { requests_per_minute: requests }),
    ...(tokens === undefined ? {} : { tokens_per_minute: tokens }),
    ...(jobs === undefined ? {} : { concurrent_jobs: jobs }),
    ...(spend === undefined ? {} : { spend }),
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new CodedError('request_invalid', `The limit ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`);
}
