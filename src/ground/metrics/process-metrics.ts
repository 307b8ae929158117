import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import {
  METRIC_TABLE,
  type CounterName,
  type GaugeName,
  type HistogramName,
  type Metric,
  type MetricRole,
} from './metric-table.ts';

type Labels = Readonly<Record<string, string>>;

/** The registry of this process. Each process has one role, and whoever scrapes it asks for all of it. */
const registry = new Registry();
const counters = new Map<string, Counter>();
const histograms = new Map<string, Histogram>();

/** Text in Prometheus' exposition format. */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

/** Makes the metrics of a role, at start, so that what has not happened yet is 0 and not absent. */
export function declareMetrics(role: MetricRole, version: string): void {
  collectDefaultMetrics({ register: registry });
  // Gauges with the suffix of a counter; the same figures stand there without it.
  for (const what of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${what}_total`);
  for (const [name, metric] of Object.entries<Metric>(METRIC_TABLE)) {
    if (metric.of === 'shard' || !metric.of.includes(role)) continue;
    if (metric.kind === 'counter') counterOf(name, metric);
    if (metric.kind === 'histogram') histogramOf(name, metric);
  }
  const { help } = METRIC_TABLE.countersign_build_info;
  new Gauge({ name: 'countersign_build_info', help, labelNames: ['role', 'version'], registers: [registry] }).set(
    { role, version },
    1,
  );
}

/** Adds one to a counter. */
export function count(name: CounterName, labels: Labels = {}): void {
  counterOf(name, METRIC_TABLE[name]).inc(labels);
}

/** Enters a duration in a histogram. */
export function measure(name: HistogramName, seconds: number, labels: Labels = {}): void {
  histogramOf(name, METRIC_TABLE[name]).observe(labels, seconds);
}

/** A gauge that is read when it is asked for; where `read` returns undefined there is none. */
export function gauge(name: GaugeName, read: () => number | undefined): void {
  registry.removeSingleMetric(name);
  new Gauge({
    name,
    help: METRIC_TABLE[name].help,
    registers: [registry],
    collect() {
      const value = read();
      if (value === undefined) this.remove();
      else this.set(value);
    },
  });
}

/** A gauge with labels that is read when it is asked for; what `read` no longer names is gone. */
export function gaugeOfEach(
  name: GaugeName,
  read: () => readonly { readonly labels: Labels; readonly value: number }[],
): void {
  registry.removeSingleMetric(name);
  const { help, labels = {} }: Metric = METRIC_TABLE[name];
  new Gauge({
    name,
    help,
    labelNames: Object.keys(labels),
    registers: [registry],
    collect() {
      this.reset();
      for (const one of read()) this.set(one.labels, one.value);
    },
  });
}

let upstreamUp: () => boolean = () => false;

/** Says how to find out whether this process reaches what it works with, where that is not Redis. */
export function watchUpstream(isUp: () => boolean): void {
  upstreamUp = isUp;
}

/** Says how to find out whether this process reaches Redis. */
export function watchRedis(isUp: () => boolean): void {
  watchUpstream(isUp);
  gauge('countersign_redis_up', () => (isUp() ? 1 : 0));
}

/** Whether this process reaches Redis, or what stands for it; false before it has tried. */
export function isUpstreamUp(): boolean {
  return upstreamUp();
}

/** All metrics of this process. */
export async function exposeMetrics(): Promise<Exposition> {
  return { contentType: registry.contentType, text: await registry.metrics() };
}

function counterOf(name: string, { help, labels = {} }: Metric): Counter {
  const known = counters.get(name);
  if (known !== undefined) return known;
  const made = new Counter({ name, help, labelNames: Object.keys(labels), registers: [registry] });
  counters.set(name, made);
  return made;
}

function histogramOf(name: string, { help, labels = {}, buckets = [] }: Metric): Histogram {
  const known = histograms.get(name);
  if (known !== undefined) return known;
  const made = new Histogram({
    name,
    help,
    labelNames: Object.keys(labels),
    buckets: [...buckets],
    registers: [registry],
  });
  histograms.set(name, made);
  return made;
}
