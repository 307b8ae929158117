import { describe, expect, test } from '@jest/globals';
import { METRIC_TABLE, type Metric } from './metric-table.ts';
import { serveMetrics } from './metrics-port.ts';
import { count, declareMetrics, exposeMetrics, gauge, isUpstreamUp, watchRedis } from './process-metrics.ts';

describe('the table of metrics', () => {
  test.each(Object.entries<Metric>(METRIC_TABLE))('%s is named by the conventions of Prometheus', (name, metric) => {
    expect(name.endsWith('_total')).toBe(metric.kind === 'counter');
    if (metric.kind === 'histogram')
      expect([name.endsWith('_seconds'), metric.buckets?.length]).toEqual([true, expect.any(Number)]);
    for (const label of Object.keys(metric.labels ?? {})) expect(label).not.toMatch(/tenant|^id$|job|key/);
    expect(metric.of === 'shard' ? metric.kind : 'gauge').toBe('gauge');
  });
});

describe('the metrics of a process', () => {
  test('are there at 0 before anything has happened, and count from then on', async () => {
    declareMetrics('courier', '9.9.9');
    const before = (await exposeMetrics()).text;
    expect(before).toMatch(/^countersign_build_info\{role="courier",version="9\.9\.9"\} 1$/m);
    expect(before).toContain('countersign_job_wait_seconds_count 0');
    expect(before).not.toContain('countersign_http_requests_total');
    count('countersign_job_ends_total', { state: 'done' });
    expect((await exposeMetrics()).text).toMatch(/^countersign_job_ends_total\{state="done"\} 1$/m);
  });

  test('leave out what is not known', async () => {
    let age: number | undefined;
    gauge('countersign_checkpoint_age_seconds', () => age);
    expect((await exposeMetrics()).text).not.toMatch(/^countersign_checkpoint_age_seconds /m);
    age = 3;
    expect((await exposeMetrics()).text).toMatch(/^countersign_checkpoint_age_seconds 3$/m);
    age = undefined;
    expect((await exposeMetrics()).text).not.toMatch(/^countersign_checkpoint_age_seconds /m);
  });

  test('are served beside a health that follows Redis, and nothing else is', async () => {
    let isUp = true;
    watchRedis(() => isUp);
    const { url, server } = await serveMetrics({ host: '127.0.0.1', port: 0 }, isUpstreamUp);
    try {
      const look = async () => [
        (await fetch(`${url}/health`)).status,
        /^countersign_redis_up (\d)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1],
      ];
      expect(await look()).toEqual([200, '1']);
      isUp = false;
      expect(await look()).toEqual([503, '0']);
      expect((await fetch(`${url}/other`)).status).toBe(404);
      expect((await fetch(`${url}/metrics`, { method: 'POST', body: 'x' })).status).toBe(404);
      const { port } = new URL(url);
      await expect(serveMetrics({ host: '127.0.0.1', port: Number(port) }, isUpstreamUp)).rejects.toMatchObject({
        code: 'port_taken',
      });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
