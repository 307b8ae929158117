// The page of `npm run bench:memory`.
import { cpus, loadavg } from 'node:os';
import { writePage } from '../overload/page.mjs';
import { MODES } from './quality.mjs';

const share = (value) => value.toFixed(3);
const ms = (value) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));
const many = (value) => Math.round(value).toLocaleString('en');
const table = (head, rows) =>
  [
    `| ${head.join(' | ')} |`,
    `| ${head.map(() => '---').join(' | ')} |`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');

/** Sets on which both halves together are worse than the better of them, with the figure that says so. */
export function setsWhereHybridLoses(sets) {
  return sets.flatMap(({ name, figures }) =>
    ['any', 'all', 'mrr'].flatMap((figure) => {
      const best = Math.max(figures.semantic[figure], figures.text[figure]);
      return figures.hybrid[figure] < best - 1e-9 ? [{ name, figure, hybrid: figures.hybrid[figure], best }] : [];
    }),
  );
}

export async function writeReport({ sets, left, speeds, embedding }) {
  const lost = setsWhereHybridLoses(sets);
  await writePage('memory.md', [
    '# Memory, measured',
    'Written by `npm run bench:memory` ([how](README.md#memory)). ' +
      `${cpus().length} cores (${cpus()[0].model}), Node ${process.versions.node}, load average ${Math.round(loadavg()[1])}.`,
    '## What a search finds',
    'recall_any@5 / recall_all@5 / MRR, with the embedder that comes with the program, which knows English only. ' +
      'For each question the places of the first ten are in [memory/rankings.jsonl](memory/rankings.jsonl).',
    table(
      ['set', 'memories', 'questions', ...MODES],
      sets.map(({ name, memories, questions, figures }) => [
        ...[name, many(memories), questions],
        ...MODES.map((mode) => [figures[mode].any, figures[mode].all, figures[mode].mrr].map(share).join(' / ')),
      ]),
    ),
    lost.length === 0
      ? 'On each set hybrid is at least as good as the better of its halves.'
      : [
          'Hybrid is worse than the better of its halves here:',
          '',
          ...lost.map((one) => `- ${one.name}, ${one.figure}: ${share(one.hybrid)} for ${share(one.best)}`),
        ].join('\n'),
    ...(left.length === 0 ? [] : [`Left out: ${left.join('; ')}.`]),
    '## How fast',
    'Hybrid searches, 10 results, in ms. Cold: nothing of the owner is in memory. Vectors are played, as long as the ' +
      `real ones (512); the embedder that comes with the program makes ${many(embedding)} a second besides.`,
    table(
      ['database', 'owner', 'cold p50', 'cold p99', 'warm p50', 'warm p99', 'filled, a second', 'memory, bytes each'],
      speeds.flatMap(({ database, owners }) =>
        owners.map(({ size, cold, warm, per_second, rss_bytes }) => [
          ...[database, many(size), ms(cold.p50), ms(cold.p99), ms(warm.p50), ms(warm.p99)],
          ...[many(per_second), many(rss_bytes)],
        ]),
      ),
    ),
    table(
      ['database', 'writes a second', 'imported a second', 'disk, bytes each', 'owners of 1,000', 'p50', 'p99'],
      speeds.map(({ database, writes_per_second, import_per_second, disk_bytes, by_turns }) => [
        ...[database, many(writes_per_second), many(import_per_second), many(disk_bytes)],
        ...(by_turns === undefined ? ['-', '-', '-'] : [many(by_turns.owners), ms(by_turns.p50), ms(by_turns.p99)]),
      ]),
    ),
    'Writes are one memory a request, ten at once of ten owners; of an import, pages of 1,000. Memory is what the ' +
      'process grew by at the first search of that owner, by the memories. Of so many owners of 1,000, one is drawn ' +
      'for each search. A p99 of few runs is the slowest of them.',
  ]);
}
