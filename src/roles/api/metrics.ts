import { Injectable } from '@nestjs/common';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { Directory } from './directory.ts';
import { EventStreams } from './event-streams.ts';

/**
 * Prometheus metrics of one API process, and of the shard as it sees it. Labels never hold a tenant or an id.
 */
@Injectable()
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #seconds: Histogram<'method' | 'route'>;
  readonly #look: () => Promise<void>;

  constructor(directory: Directory, streams: EventStreams) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    // Gauges with the suffix of a counter; the same figures stand there without it.
    for (const what of ['handles', 'requests', 'resources'])
      this.#registry.removeSingleMetric(`nodejs_active_${what}_total`);
    this.#requests = new Counter({
      name: 'countersign_http_requests_total',
      help: 'HTTP requests answered',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'countersign_http_request_duration_seconds',
      help: 'Time to answer an HTTP request',
      labelNames: ['method', 'route'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 60],
      registers,
    });
    const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
    const waiting = waitingJobs(registers);
    const attesting = gauge(
      'countersign_attestation_backlog_entries',
      'Evidence and releases that no attestor has taken yet',
    );
    const kept = gauge('countersign_kept_finished_jobs', 'Finished jobs still kept');
    const unentered = gauge(
      'countersign_unentered_finished_jobs',
      'Finished jobs that no courier has entered in the books yet',
    );
    const unsettled = gauge('countersign_unsettled_payments', 'Payments of done jobs that are not carried out yet');
    const stuck = gauge('countersign_stuck_jobs', 'Jobs whose confirmation fails again and again and was put aside');
    const workers = gauge('countersign_consuming_workers', 'Workers heard of lately that take jobs');
    const attestors = gauge('countersign_consuming_attestors', 'Attestors heard of lately that can confirm');
    const open = gauge('countersign_open_jobs', 'Jobs accepted and not final');
    this.#look = async () => {
      const [backlogs, health] = await Promise.all([directory.backlogs().catch(() => undefined), directory.health()]);
      workers.set(health.workers);
      attestors.set(health.attestors);
      if (backlogs === undefined) return;
      open.set(backlogs.open);
      attesting.set(backlogs.attesting);
      kept.set(backlogs.kept);
      unentered.set(backlogs.unentered);
      unsettled.set(backlogs.unsettled);
      stuck.set(backlogs.stuck);
      for (const { pool, model, jobs } of backlogs.waiting) waiting.set({ pool, model }, jobs);
    };
    new Gauge({
      name: 'countersign_event_streams',
      help: 'Event streams open in this process',
      registers,
      collect() {
        this.set(streams.size);
      },
    });
  }

  observe(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status: String(status) });
    this.#seconds.observe({ method, route }, seconds);
  }

  async render(): Promise<{ contentType: string; text: string }> {
    await this.#look();
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}

function waitingJobs(registers: Registry[]): Gauge<'pool' | 'model'> {
  return new Gauge({
    name: 'countersign_queue_waiting_jobs',
    help: 'Jobs that wait for a worker',
    labelNames: ['pool', 'model'],
    registers,
  });
}
