import { Injectable } from '@nestjs/common';
import { Gauge, Registry } from 'prom-client';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { METRIC_TABLE, type ShardGaugeName } from '../../ground/metrics/metric-table.ts';
import { count, exposeMetrics, gauge, measure, type Exposition } from '../../ground/metrics/process-metrics.ts';
import { Directory } from './directory.ts';
import { EventStreams } from './event-streams.ts';

/**
 * Prometheus metrics of one API process, and of the shard as Redis has it. The two are apart: every instance
 * knows the same of the shard, so that it is asked of one of them, or a sum would count it many times.
 */
@Injectable()
export class Metrics {
  readonly #directory: Directory;

  constructor(directory: Directory, streams: EventStreams) {
    this.#directory = directory;
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
    const backlogs = await this.#directory.backlogs().catch((cause: unknown) => {
      throw new CodedError('storage_unavailable', 'The storage does not respond, so nothing is known of the shard.', {
        cause,
      });
    });
    const registry = new Registry();
    const set = (name: ShardGaugeName, values: readonly [labels: Record<string, string>, value: number][]) => {
      const labelNames = Object.keys(values[0]?.[0] ?? {});
      const made = new Gauge({ name, help: METRIC_TABLE[name].help, labelNames, registers: [registry] });
      for (const [labels, value] of values) made.set(labels, value);
    };
    const values = {
      countersign_consuming_workers: health.workers,
      countersign_consuming_attestors: health.attestors,
      countersign_open_jobs: backlogs.open,
      countersign_attestation_backlog_entries: backlogs.attesting,
      countersign_recompute_queue_jobs: backlogs.recomputing,
      countersign_kept_finished_jobs: backlogs.kept,
      countersign_unentered_finished_jobs: backlogs.unentered,
      countersign_unsettled_payments: backlogs.unsettled,
      countersign_stuck_jobs: backlogs.stuck,
      countersign_webhook_backlog_messages: backlogs.messages,
    } as const satisfies Record<Exclude<ShardGaugeName, 'countersign_queue_waiting_jobs'>, number>;
    for (const name of SHARD_GAUGES)
      set(
        name,
        name === 'countersign_queue_waiting_jobs'
          ? backlogs.waiting.map(({ pool, model, jobs }) => [{ pool, model }, jobs])
          : [[{}, values[name]]],
      );
    return { contentType: registry.contentType, text: await registry.metrics() };
  }
}

const isShardGauge = (name: string): name is ShardGaugeName =>
  Object.entries(METRIC_TABLE).some(([one, { of }]) => one === name && of === 'shard');
const SHARD_GAUGES = Object.keys(METRIC_TABLE).filter(isShardGauge);
