// `npm run bench:memory`: what searches of memories find, how fast they are, and what memories take.
// bench/README.md says what each figure means. It writes `bench/memory.md` and `bench/memory/rankings.jsonl`;
// with `--data FILE`, a file of LongMemEval's format, it measures that alone and says the figures as JSON.
import { writeFileSync } from 'node:fs';
import { KeepingEmbedder, openBenchDesk } from './memory/desk.mjs';
import { measureQuestions, readQuestions } from './memory/longmemeval.mjs';
import { startPostgres } from './memory/postgres.mjs';
import { measureSet } from './memory/quality.mjs';
import { setsWhereHybridLoses, writeReport } from './memory/report.mjs';
import { setsOf } from './memory/sets.mjs';
import { measureEmbedding, measureSpeed } from './memory/speed.mjs';
import { readOptions } from './options.mjs';

const USAGE =
  'npm run bench:memory -- [--owners 1000,10000] [--many 20] [--rounds 100] [--sword FOLDER] [--small] [--data FILE [--rankings FILE]]';
const options = readOptions(USAGE, {
  words: ['owners', 'many', 'rounds', 'sword', 'data', 'rankings'],
  flags: ['small'],
});
const say = (line) => process.stderr.write(`${line}\n`);
const number = (text, otherwise) => (text === undefined ? otherwise : Number(text));

await (options.data === undefined ? measureAll() : measureData(options.data));
process.exit(0);

async function measureAll() {
  const { sets, left } = setsOf({ sword: options.sword ?? '/usr/share/sword', isSmall: options.small === true });
  for (const one of left) say(`left out: ${one}`);
  const desk = await openBenchDesk({ embedder: new KeepingEmbedder() });
  const measured = [];
  for (const set of sets) {
    measured.push(await measureSet(desk, set));
    say(`memory: ${set.name} ${JSON.stringify(measured.at(-1).figures)}`);
  }
  await desk.close();
  const sizes = (options.owners ?? '1000,10000').split(',').map(Number);
  const size = { sizes, many: number(options.many, 20), rounds: number(options.rounds, 100), say };
  const speeds = [{ database: 'embedded', ...(await measureSpeed(size)) }];
  const server = await startPostgres();
  if (server === undefined) left.push('PostgreSQL: no server is installed here');
  else
    try {
      speeds.push({ database: server.version, ...(await measureSpeed({ ...size, url: server.url })) });
    } finally {
      await server.stop();
    }
  const lines = measured.flatMap(({ rankings }) => rankings).map((one) => `${JSON.stringify(one)}\n`);
  writeFileSync(new URL('memory/rankings.jsonl', import.meta.url), lines.join(''));
  await writeReport({ sets: measured, left, speeds, embedding: await measureEmbedding() });
  const lost = setsWhereHybridLoses(measured);
  for (const one of lost) say(`hybrid loses: ${JSON.stringify(one)}`);
}

async function measureData(file) {
  const questions = readQuestions(file);
  const desk = await openBenchDesk({ embedder: new KeepingEmbedder() });
  const { figures, rankings } = await measureQuestions(desk, questions, say);
  await desk.close();
  if (options.rankings !== undefined)
    writeFileSync(options.rankings, rankings.map((one) => `${JSON.stringify(one)}\n`).join(''));
  process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
}
