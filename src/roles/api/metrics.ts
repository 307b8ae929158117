import { Injectable } from '@nestjs/common';
import { Gauge, Registry } from 'prom-client';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { METRIC_TABLE, type Metric, type ShardGaugeName } from '../../ground/metrics/metric-table.ts';
import { count, exposeMetrics, gauge, measure, type Exposition } from '../../ground/metrics/process-metrics.ts';
import { POOL_STATES } from '../../core/backlog/pool-state.ts';
import { Pools } from '../../core/backlog/pool.store.ts';
import { Catalog } from '../../core/catalog/catalog.ts';
import { Outlooks } from '../../core/forecast/outlooks.ts';
import { Directory } from './directory.ts';
import { EventStreams } from './event-streams.ts';

/** A value and its labels. */
type Labelled = readonly [labels: Record<string, string>, value: number];
/** A value without labels. */
const whole = (value: number): readonly Labelled[] => [[{}, value]];

/**
 * Prometheus metrics of one API process, and of the shard as Redis has it. The two are apart: every instance
 * knows the same of the shard, so that it is asked of one of them, or a sum would count it many times.
 */
@Injectable()
export class Metrics {
  readonly #directory: Directory;
  readonly #pools: Pools;
  readonly #catalog: Catalog;
  readonly #outlooks: Outlooks;

  constructor(directory: Directory, streams: EventStreams, pools: Pools, catalog: Catalog, outlooks: Outlooks) {
    this.#directory = directory;
    this.#pools = pools;
    this.#catalog = catalog;
    this.#outlooks = outlooks;
    gauge('countersign_event_streams', () => streams.size);
  }

  observe(method: string, route: string, status: number, seconds: number): void {
    count('countersign_http_requests_total', { method, route, status: String(status) });
    measure('countersign_http_request_duration_seconds', seconds, { method, route });
  }

  async ofProcess(): Promise<Exposition> {
    return exposeMetrics();
  }

  /**
   * What stands in Redis at this moment. Throws CodedError `storage_unavailable` where that cannot be read:
   * values from before would look like those of now.
   */
  async ofShard(): Promise<Exposition> {
    const health = await this.#directory.health();
    const asked = [
      this.#directory.backlogs(),
      this.#pools.list(),
      this.#fairness(),
      this.#directory.loadedBy(),
    ] as const;
    const [backlogs, pools, fairness, loaded] = await Promise.all(asked).catch((cause: unknown) => {
      throw new CodedError('storage_unavailable', 'The storage does not respond, so nothing is known of the shard.', {
        cause,
      });
    });
    const registry = new Registry();
    const values: Record<ShardGaugeName, readonly Labelled[]> = {
      countersign_consuming_workers: whole(health.workers),
      countersign_consuming_attestors: whole(health.attestors),
      countersign_open_jobs: whole(backlogs.open),
      countersign_attestation_backlog_entries: whole(backlogs.attesting),
      countersign_unconfirmed_answers: whole(backlogs.confirming),
      countersign_recompute_queue_jobs: whole(backlogs.recomputing),
      countersign_kept_finished_jobs: whole(backlogs.kept),
      countersign_unentered_finished_jobs: whole(backlogs.unentered),
      countersign_unsettled_payments: whole(backlogs.unsettled),
      countersign_stuck_jobs: whole(backlogs.stuck),
      countersign_webhook_backlog_messages: whole(backlogs.messages),
      countersign_queue_waiting_jobs: backlogs.waiting.map(({ pool, model, jobs }) => [{ pool, model }, jobs]),
      countersign_model_loaded_workers: loaded.map(({ pool, model, workers }) => [{ pool, model }, workers]),
      countersign_pool_work_jobs: backlogs.work.map(({ pool, jobs }) => [{ pool }, jobs]),
      countersign_fairness_index: fairness,
      countersign_pool_state: pools.flatMap(({ name: pool, state: current }) =>
        POOL_STATES.map((state): Labelled => [{ pool, state }, state === current ? 1 : 0]),
      ),
    };
    for (const name of SHARD_GAUGES) {
      const { help, labels = {} }: Metric = METRIC_TABLE[name];
      const made = new Gauge({ name, help, labelNames: Object.keys(labels), registers: [registry] });
      for (const [of, value] of values[name]) made.set(of, value);
    }
    return { contentType: registry.contentType, text: await registry.metrics() };
  }

  /** Of the queues whose fairness is known. */
  async #fairness(): Promise<Labelled[]> {
    const models = this.#catalog.all();
    const indices = await Promise.all(models.map((model) => this.#outlooks.fairness(model)));
    return models.flatMap(({ pool, name: model }, at): Labelled[] => {
      const index = indices[at];
      return index === undefined ? [] : [[{ pool, model }, index]];
    });
  }
}

const isShardGauge = (name: string): name is ShardGaugeName =>
  Object.entries(METRIC_TABLE).some(([one, { of }]) => one === name && of === 'shard');
const SHARD_GAUGES = Object.keys(METRIC_TABLE).filter(isShardGauge);
