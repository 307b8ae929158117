import { z } from 'zod';
import { POOL_STATES } from '../../core/backlog/pool-state.ts';

const Time = z.iso.datetime();

export const ChangePoolState = z.strictObject({
  state: z
    .enum(POOL_STATES)
    .describe(
      '`paused`: jobs are accepted and wait, and nothing more is begun. `draining`: new jobs are refused, and what waits is worked on. `open`: neither',
    ),
});

export const PoolStateDocument = z.strictObject({
  name: z.string(),
  state: z.enum(POOL_STATES),
  since: Time.nullable().describe('null where it is open'),
  by: z.string().nullable().describe('the id of an API key, or `cli` for a holder of Redis’ passwords'),
  waiting_jobs: z.int().describe('jobs that no worker has claimed'),
  emptying: z
    .strictObject({
      asked_at: Time,
      by: z.string(),
      found_jobs: z.int().describe('how many jobs waited then'),
      cancelled_jobs: z.int().describe('of how many the cancellation was asked so far'),
      ended_at: Time.nullable().describe('null while it goes on'),
    })
    .nullable()
    .describe('the last time that what waited was cancelled; null where it never was'),
});
export type PoolStateDocument = z.infer<typeof PoolStateDocument>;

export const PoolStateList = z.strictObject({ pools: z.array(PoolStateDocument) });
export type PoolStateList = z.infer<typeof PoolStateList>;
