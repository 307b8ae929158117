import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { systemCodeOf } from '../errors/coded-error.ts';
import { METRIC_TABLE, type Metric } from './metric-table.ts';

const FOLDER = new URL('../../../deploy/', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, FOLDER), 'utf8');
const RULES = ['prometheus/recording.rules.yml', 'prometheus/alert.rules.yml'];
const ALERTS = [...read('prometheus/alert.rules.yml').matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);
const RECORDED = new Set([...read(RULES[0] ?? '').matchAll(/- record: (\S+)/g)].map(([, name = '']) => name));

/** What Prometheus makes of each metric of the table. */
const SERIES = new Set(
  Object.entries<Metric>(METRIC_TABLE).flatMap(([name, { kind }]) =>
    kind === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  ),
);

describe('what is deployed beside the metrics', () => {
  test.each([...RULES, 'prometheus/rules.test.yml', 'grafana/countersign.json'])(
    '%s asks for no metric that nobody serves, and for no rule that is not there',
    (path) => {
      const text = read(path);
      const asked = [...text.matchAll(/countersign[_:][\w:]+/g)].map(([name]) => name);
      expect(asked.length).toBeGreaterThan(5);
      const known = new Set([...SERIES, ...RECORDED, ...Object.keys(METRIC_TABLE)]);
      expect([...new Set(asked)].filter((name) => !known.has(name))).toEqual([]);
    },
  );

  test('every alert has an entry in the runbook and an example that fires, and none has an entry too many', () => {
    const runbook = readFileSync(new URL('../docs/runbook.md', FOLDER), 'utf8');
    const entries = [...runbook.matchAll(/^## (\w+)\n\n_(Page|Ticket)\._/gm)].map(([, name]) => name);
    expect(entries).toEqual(ALERTS);
    const examples = read('prometheus/rules.test.yml');
    for (const name of ALERTS) {
      expect(read('prometheus/alert.rules.yml')).toContain(`runbook_url: docs/runbook.md#${name.toLowerCase()}`);
      expect(examples).toMatch(new RegExp(`alertname: ${name}\\n +exp_alerts:\\n +- exp_labels`));
      expect(examples).toMatch(new RegExp(`alertname: ${name}\\n +exp_alerts: \\[\\]`));
    }
  });

  test('a panel of the dashboard shows each metric, and no two panels lie on each other', () => {
    const { panels } = JSON.parse(read('grafana/countersign.json')) as {
      panels: {
        id: number;
        type: string;
        description?: string;
        gridPos: { x: number; y: number; w: number; h: number };
      }[];
    };
    const shown = panels.flatMap(({ description }) =>
      description === undefined ? [] : [description.replaceAll('`', '')],
    );
    expect(shown.toSorted()).toEqual(Object.keys(METRIC_TABLE).toSorted());
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const [at, { gridPos: a }] of panels.entries())
      for (const { gridPos: b } of panels.slice(at + 1))
        expect(a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h).toBe(false);
  });

  test('promtool accepts the rules, and every example comes out as written', () => {
    const promtool = (...words: string[]) =>
      execFileSync('promtool', words, { cwd: new URL('prometheus/', FOLDER), encoding: 'utf8', stdio: 'pipe' });
    try {
      promtool('check', 'rules', 'recording.rules.yml', 'alert.rules.yml');
      promtool('test', 'rules', 'rules.test.yml');
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
      process.stderr.write('SKIPPED: promtool is not installed; the rules were not tried with it\n');
    }
  });
});
