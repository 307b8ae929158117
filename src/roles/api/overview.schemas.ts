import { z } from 'zod';
import { POOL_STATES } from '../../core/backlog/pool-state.ts';
import { JOB_STATES } from '../../proof/contract/job-states.ts';

const Time = z.iso.datetime();
const Ms = z.int();

/** A GPU that a worker may use; null is what its driver does not tell. */
const GpuRow = z.strictObject({
  place: z.string().describe('its number on its machine, and of a slice the number of that after a colon'),
  name: z.string(),
  memory_bytes: z.int().nullable(),
  free_bytes: z.int().nullable(),
  busy_percent: z.number().nullable(),
  celsius: z.number().nullable(),
  uncorrected_errors: z.int().nullable().describe('errors of its memory that were not corrected'),
});

/** A worker in the grid. What it says of itself is its word alone. */
export const WorkerRow = z.strictObject({
  id: z.string(),
  pool: z.string(),
  state: z.enum(['consuming', 'draining', 'paused']),
  problem: z.string().nullable().describe('why it is paused'),
  in_flight: z.int(),
  slots: z.int(),
  models: z.array(z.string()),
  resting: z.array(z.string()).describe('those of them that are not in its memory now, and are loaded in their turn'),
  away: z.array(z.string()).describe('models whose engine it has lost'),
  free_memory_bytes: z.int().nullable(),
  gpus: z.array(GpuRow),
  started_at: z.string(),
});
export type WorkerRow = z.infer<typeof WorkerRow>;

export const QueueRow = z.strictObject({
  model: z.string(),
  pool: z.string(),
  waiting: z.int(),
  running: z.int(),
  slots: z.int(),
  next_waited_ms: Ms.nullable().describe('how long the job has waited that comes next; null where none waits'),
  predicted_ms: Ms.nullable().describe('how long a job that comes now will wait; null where nobody can tell'),
});
export type QueueRow = z.infer<typeof QueueRow>;

export const VerdictRow = z.strictObject({
  job: z.string(),
  tenant: z.string(),
  model: z.string(),
  state: z.enum(JOB_STATES),
  at: Time,
  how: z.array(z.string()).describe('what the attestor checked, by names of promises'),
  detail: z.string().describe('why it ended so, where it did not end as done'),
});
export type VerdictRow = z.infer<typeof VerdictRow>;

export const AttentionRow = z.strictObject({
  kind: z.string(),
  about: z.string(),
  level: z.enum(['stop', 'look']),
  title: z.string(),
  detail: z.string(),
  next: z.strictObject({ label: z.string(), page: z.string() }),
});

/** The installation at one moment, without its workers. */
export const Tick = z.strictObject({
  at: Time,
  per_second: z
    .record(z.string(), z.number())
    .describe('jobs accepted and ended a second, over ten seconds that are just over'),
  open: z.int(),
  confirming: z.int().describe('messages of workers that no attestor has taken, and checks that wait or go on'),
  stuck: z.int(),
  queues: z.array(QueueRow),
  pools: z.array(z.strictObject({ name: z.string(), state: z.enum(POOL_STATES), waiting: z.int() })),
  attestors: z.array(z.strictObject({ id: z.string(), problem: z.string().nullable() })),
  attention: z.array(AttentionRow),
});
export type Tick = z.infer<typeof Tick>;

export const RefutationRow = z.strictObject({
  job: z.string(),
  tenant: z.string(),
  model: z.string(),
  worker: z.string(),
  at: Time,
  detail: z.string(),
  state: z.string().describe('how the job ended in the end'),
});

export const Overview = z.strictObject({
  tick: Tick,
  workers: z.array(WorkerRow),
  verdicts: z.array(VerdictRow).describe('the newest ends of jobs, the newest first'),
  refutations: z.array(RefutationRow).describe('the newest refuted attempts of ended jobs, the newest first'),
});
export type Overview = z.infer<typeof Overview>;

export const HistoryQuery = z.strictObject({
  span: z.enum(['hour', 'day', 'week']).default('day').describe('in slots of a minute, 15 minutes or two hours'),
});

export const HistoryDocument = z.strictObject({
  slot_ms: Ms,
  points: z.array(
    z.strictObject({
      at: Time,
      counts: z
        .record(z.string(), z.int())
        .describe('accepted, the final states, and attempts refuted, returned and lost'),
      p50_ms: Ms.nullable(),
      p95_ms: Ms.nullable(),
    }),
  ),
  refusals: z.array(z.strictObject({ code: z.string(), count: z.int() })),
  phases: z.array(z.strictObject({ model: z.string(), jobs: z.int(), wait_ms: Ms, run_ms: Ms, confirm_ms: Ms })),
  p50_ms: Ms.nullable().describe('within this time half of the done jobs were done'),
  p95_ms: Ms.nullable(),
});
export type HistoryDocument = z.infer<typeof HistoryDocument>;
