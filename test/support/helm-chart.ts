import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parse as render } from '@evertdespiegeleer/go-template';
import { parse, parseAllDocuments } from 'yaml';
import { ROOT } from './redis.ts';

const CHART = join(ROOT, 'deploy', 'helm', 'countersign');
const textOf = (...path: string[]) => readFileSync(join(CHART, ...path), 'utf8');

/** One document of Kubernetes, as far as the tests ask. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: unknown;
}

export const chartSchema = (): object => JSON.parse(textOf('values.schema.json')) as object;
export const chartValues = (): Record<string, unknown> => parse(textOf('values.yaml')) as Record<string, unknown>;

/**
 * The documents of the chart. Its templates use what Go's template language has itself and nothing of Helm,
 * so that Go's own engine renders what Helm would; a value that is missing is an error here.
 */
export async function renderedChart(values: Record<string, unknown>): Promise<Manifest[]> {
  const parts = textOf('templates', '_parts.tpl');
  const all: Manifest[] = [];
  for (const name of readdirSync(join(CHART, 'templates')).filter((file) => file.endsWith('.yaml'))) {
    const text = await render(parts + textOf('templates', name), { Values: values, Release: { Name: 'cs' } });
    for (const document of parseAllDocuments(text)) {
      const [error] = document.errors;
      if (error !== undefined) throw new Error(`${name}: ${error.message}`);
      const manifest = document.toJS() as Manifest | null;
      if (manifest !== null) all.push(manifest);
    }
  }
  return all;
}
