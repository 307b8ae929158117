// Pages of this folder's benches, in the form of all documents, with plots beside them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';

const folder = new URL('..', import.meta.url).pathname;
const PLOTS = 'overload/plots';

/** Writes plots by their names; their SVG is what pages show. */
export function writePlots(plots) {
  mkdirSync(`${folder}${PLOTS}`, { recursive: true });
  for (const [name, svg] of Object.entries(plots)) writeFileSync(`${folder}${PLOTS}/${name}`, svg);
}

/** A plot as pages show it. */
export const shown = (what, name) => `![${what}](${PLOTS}/${name})`;

export async function writePage(name, texts) {
  const file = `${folder}${name}`;
  const options = await resolveConfig(file);
  writeFileSync(file, await format(`${texts.join('\n\n')}\n`, { ...options, filepath: file }));
}
