/** The processes of an installation that are asked for metrics. */
export type MetricRole = 'api' | 'courier' | 'attestor' | 'worker' | 'gateway' | 'memory' | 'proxy';

/** One metric: what it measures, and which labels it has. Labels never hold a tenant or an id. */
export interface Metric {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Each with the values that it can have, in words. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The processes that serve it; `shard` is what the API tells of the whole shard, apart. */
  readonly of: readonly MetricRole[] | 'shard';
  /** Upper bounds of a histogram, in seconds. */
  readonly buckets?: readonly number[];
}

const EVERY: readonly MetricRole[] = ['api', 'courier', 'attestor', 'worker', 'gateway'];
const GPU = { gpu: 'number of the GPU on its machine, and of a slice of it, such as 0:2' };
const HTTP_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 60];
const JOB_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];

/** Every metric of ours. The code, its tests and docs/metrics.md take them from here. */
export const METRIC_TABLE = {
  countersign_build_info: {
    kind: 'gauge',
    help: 'Always 1',
    labels: { role: 'name of the role', version: 'version of the program' },
    of: [...EVERY, 'memory', 'proxy'],
  },
  countersign_redis_up: {
    kind: 'gauge',
    help: 'Whether the connection of this process to Redis can be used: 1 or 0',
    of: EVERY,
  },
  countersign_http_requests_total: {
    kind: 'counter',
    help: 'HTTP requests answered',
    labels: { method: 'HTTP method', route: 'route of the table of routes, or none', status: 'HTTP status' },
    of: ['api', 'gateway'],
  },
  countersign_http_request_duration_seconds: {
    kind: 'histogram',
    help: 'Time to answer an HTTP request',
    labels: { method: 'HTTP method', route: 'route of the table of routes, or none' },
    of: ['api', 'gateway'],
    buckets: HTTP_SECONDS,
  },
  countersign_event_streams: { kind: 'gauge', help: 'Event streams open in this process', of: ['api', 'gateway'] },
  countersign_gateway_leases_total: { kind: 'counter', help: 'Leases handed to workers', of: ['gateway'] },
  countersign_gateway_waiting_requests: {
    kind: 'gauge',
    help: 'Requests for leases that wait for a job',
    of: ['gateway'],
  },
  countersign_refusals_total: {
    kind: 'counter',
    help: 'Requests that were answered with an error',
    labels: { code: 'code of the table of errors' },
    of: ['api', 'gateway'],
  },
  countersign_job_ends_total: {
    kind: 'counter',
    help: 'Jobs whose end this process entered in the books; each end is entered once, by one courier',
    labels: { state: 'final state' },
    of: ['courier'],
  },
  countersign_job_wait_seconds: {
    kind: 'histogram',
    help: 'From the acceptance of a done job to the begin of the attempt that was confirmed',
    of: ['courier'],
    buckets: JOB_SECONDS,
  },
  countersign_job_run_seconds: {
    kind: 'histogram',
    help: 'From that begin to the commit of the answer',
    of: ['courier'],
    buckets: JOB_SECONDS,
  },
  countersign_job_confirm_seconds: {
    kind: 'histogram',
    help: 'From that commit to the end of the job',
    of: ['courier'],
    buckets: JOB_SECONDS,
  },
  countersign_webhook_deliveries_total: {
    kind: 'counter',
    help: 'Attempts to deliver a webhook message',
    labels: { outcome: 'delivered or failed' },
    of: ['courier'],
  },
  countersign_schedule_runs_total: {
    kind: 'counter',
    help: 'Due times of cron schedules that this process decided about',
    labels: { outcome: 'submitted, skipped, refused or missed' },
    of: ['courier'],
  },
  countersign_lost_leases_total: {
    kind: 'counter',
    help: 'Attempts whose lease ran out: their worker died or stood still, and the job was given to another',
    of: ['attestor'],
  },
  countersign_checkpoint_age_seconds: {
    kind: 'gauge',
    help: 'Since this process last published a checkpoint of the log; absent before the first',
    of: ['attestor'],
  },
  countersign_witness_failures_total: {
    kind: 'counter',
    help: 'Requests for a cosignature that failed',
    of: ['attestor'],
  },
  countersign_engine_failures_total: {
    kind: 'counter',
    help: 'Runs that failed by their engine, and not by what they were asked: after five in a row it gets no more jobs until it answers a question of its worker',
    labels: { model: 'model of the catalog' },
    of: ['worker'],
  },
  countersign_model_loads_total: {
    kind: 'counter',
    help: 'Loads of a model in its turn, where a worker serves more models than it holds at once',
    labels: { pool: 'pool of the worker', model: 'model of the catalog' },
    of: ['worker'],
  },
  countersign_models_loaded: {
    kind: 'gauge',
    help: 'Models that this worker has loaded and serves now',
    of: ['worker'],
  },
  countersign_models_away: {
    kind: 'gauge',
    help: 'Models that this worker does not serve for now, because what computes them is away or fails',
    of: ['worker'],
  },
  countersign_gpu_memory_bytes: {
    kind: 'gauge',
    help: 'Memory of a GPU that the worker may use',
    labels: GPU,
    of: ['worker'],
  },
  countersign_gpu_memory_free_bytes: {
    kind: 'gauge',
    help: 'Memory of a GPU that is free',
    labels: GPU,
    of: ['worker'],
  },
  countersign_gpu_busy_ratio: {
    kind: 'gauge',
    help: 'Share of the time in which a GPU computed, of late',
    labels: GPU,
    of: ['worker'],
  },
  countersign_gpu_temperature_celsius: {
    kind: 'gauge',
    help: 'Temperature of a GPU',
    labels: GPU,
    of: ['worker'],
  },
  countersign_gpu_uncorrected_errors: {
    kind: 'gauge',
    help: "Errors of a GPU's memory that were not corrected, since its driver was loaded",
    labels: GPU,
    of: ['worker'],
  },
  countersign_worker_commits_total: { kind: 'counter', help: 'Answers that this worker committed', of: ['worker'] },
  countersign_proxy_requests_total: {
    kind: 'counter',
    help: 'Requests to `countersign proxy`',
    labels: { route: 'route of the proxy', outcome: 'passed, refused, failed or left (the caller hung up)' },
    of: ['proxy'],
  },
  countersign_proxy_refusals_total: {
    kind: 'counter',
    help: 'Answers that were withheld',
    labels: { reason: 'why, as docs/proxy.md lists it' },
    of: ['proxy'],
  },
  countersign_consuming_workers: { kind: 'gauge', help: 'Workers heard of lately that take jobs', of: 'shard' },
  countersign_consuming_attestors: {
    kind: 'gauge',
    help: 'Attestors heard of lately that can confirm',
    of: 'shard',
  },
  countersign_queue_waiting_jobs: {
    kind: 'gauge',
    help: 'Jobs that wait for a worker',
    labels: { pool: 'pool of the catalog', model: 'model of the catalog' },
    of: 'shard',
  },
  countersign_model_loaded_workers: {
    kind: 'gauge',
    help: 'Workers that have a model in memory, of the models that take turns there',
    labels: { pool: 'pool of the catalog', model: 'model of the catalog' },
    of: 'shard',
  },
  countersign_pool_work_jobs: {
    kind: 'gauge',
    help: 'Jobs of a pool that wait, are at a worker or before an attestor: what workers are scaled by',
    labels: { pool: 'pool of the catalog' },
    of: 'shard',
  },
  countersign_fairness_index: {
    kind: 'gauge',
    help: "Jain's index of the slots' time that tenants got of late, over their weights: 1 is even. Of those that had work waiting beyond their share nearly all the time; absent where they are fewer than two",
    labels: { pool: 'pool of the catalog', model: 'model of the catalog' },
    of: 'shard',
  },
  countersign_pool_state: {
    kind: 'gauge',
    help: '1 for the state in which the operator has left a pool, 0 for the others',
    labels: { pool: 'pool of the catalog', state: 'open, paused or draining' },
    of: 'shard',
  },
  countersign_open_jobs: { kind: 'gauge', help: 'Jobs accepted and not final', of: 'shard' },
  countersign_attestation_backlog_entries: {
    kind: 'gauge',
    help: 'Evidence and releases that no attestor has taken yet',
    of: 'shard',
  },
  countersign_unconfirmed_answers: {
    kind: 'gauge',
    help: 'Answers that attestors have taken and not confirmed yet',
    of: 'shard',
  },
  countersign_recompute_queue_jobs: {
    kind: 'gauge',
    help: 'Answers that wait to be computed again, or are',
    of: 'shard',
  },
  countersign_kept_finished_jobs: { kind: 'gauge', help: 'Finished jobs still kept', of: 'shard' },
  countersign_unentered_finished_jobs: {
    kind: 'gauge',
    help: 'Finished jobs that no courier has entered in the books yet',
    of: 'shard',
  },
  countersign_unsettled_payments: {
    kind: 'gauge',
    help: 'Payments of done jobs that are not carried out yet',
    of: 'shard',
  },
  countersign_stuck_jobs: {
    kind: 'gauge',
    help: 'Jobs whose confirmation fails again and again and was put aside',
    of: 'shard',
  },
  countersign_webhook_backlog_messages: {
    kind: 'gauge',
    help: 'Webhook messages that wait for their next attempt',
    of: 'shard',
  },
} as const satisfies Readonly<Record<`countersign_${string}`, Metric>>;

export type MetricName = keyof typeof METRIC_TABLE;

type Named<Kind extends Metric['kind'], Of> = {
  [Name in MetricName]: (typeof METRIC_TABLE)[Name] extends { kind: Kind; of: Of } ? Name : never;
}[MetricName];
export type CounterName = Named<'counter', readonly MetricRole[]>;
export type HistogramName = Named<'histogram', readonly MetricRole[]>;
export type GaugeName = Named<'gauge', readonly MetricRole[]>;
export type ShardGaugeName = Named<'gauge', 'shard'>;
