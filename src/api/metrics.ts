import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Directory } from './directory.ts';
import type { EventStreams } from './event-streams.ts';

/** Prometheus metrics of one API process, and of the shard as it sees it. Labels never hold a tenant or an id. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #seconds: Histogram<'method' | 'route'>;

  constructor(directory: Directory, streams: EventStreams) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Counter({ name: 'countersign_http_requests_total', help: 'HTTP requests answered', labelNames: ['method', 'route', 'status'], registers });
    this.#seconds = new Histogram({
      name: 'countersign_http_request_duration_seconds',
      help: 'Time to answer an HTTP request',
      labelNames: ['method', 'route'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 60],
      registers,
    });
    const waiting = new Gauge({ name: 'countersign_queue_waiting_jobs', help: 'Jobs that wait for a worker', labelNames: ['pool', 'model'], registers });
    const attesting = new Gauge({ name: 'countersign_attestation_backlog_entries', help: 'Evidence and releases that no attestor has taken yet', registers });
    const kept = new Gauge({ name: 'countersign_kept_finished_jobs', help: 'Finished jobs still kept', registers });
    const workers = new Gauge({ name: 'countersign_consuming_workers', help: 'Workers heard of lately that take jobs', registers });
    const attestors = new Gauge({ name: 'countersign_consuming_attestors', help: 'Attestors heard of lately', registers });
    new Gauge({
      name: 'countersign_open_jobs',
      help: 'Jobs accepted and not final',
      registers,
      async collect() {
        const [backlogs, health] = await Promise.all([directory.backlogs().catch(() => undefined), directory.health()]);
        workers.set(health.workers);
        attestors.set(health.attestors);
        if (backlogs === undefined) return;
        this.set(backlogs.open);
        attesting.set(backlogs.attesting);
        kept.set(backlogs.kept);
        for (const { pool, model, jobs } of backlogs.waiting) waiting.set({ pool, model }, jobs);
      },
    });
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
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }
}
