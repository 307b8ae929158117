// How fast and how large: searches of owners of several sizes, cold (nothing of the owner in memory) and
// warm, many owners by turns, writes, imports, and what a memory takes. Vectors are played: embedding is
// measured by itself.
import { execFileSync } from 'node:child_process';
import { seeded } from '../overload/seeded.mjs';
import { OwnEmbedder, PlayedEmbedder, aDraft, openBenchDesk, whoseOf } from './desk.mjs';

const PAGE = 1_000;
const LIMIT = 10;
const WORDS = 4_000;

/** Everything of one database. */
export async function measureSpeed({ url, sizes, many, rounds, say }) {
  const embedder = new PlayedEmbedder();
  const desk = await openBenchDesk({ embedder, url });
  const random = seeded(1);
  const texts = () => `${Array.from({ length: 12 }, () => wordOf(random)).join(' ')}.`;
  try {
    const owners = [];
    for (const size of sizes) {
      owners.push(await ownerOf(desk, { size, texts, rounds }));
      say(`memory: an owner of ${size} ${JSON.stringify(owners.at(-1))}`);
    }
    const writes = await writesOf(desk, texts);
    const carried = await importOf(desk, whoseOf(`size ${sizes[0]}`));
    const by_turns = many === 0 ? undefined : await manyOf(desk, { many, texts, random });
    const all =
      sizes.reduce((sum, size) => sum + size, 0) + (many === 0 ? 0 : many * PAGE) + writes.count + carried.count;
    const disk_bytes = Math.round((await diskOf(desk, url)) / all);
    return { owners, writes_per_second: writes.perSecond, import_per_second: carried.perSecond, by_turns, disk_bytes };
  } finally {
    await desk.close();
  }
}

/** Texts a second through the embedder that comes with the program. */
export async function measureEmbedding(count = 512) {
  const embedder = new OwnEmbedder();
  await embedder.embed(['first']);
  const random = seeded(2);
  const texts = Array.from({ length: count }, () => Array.from({ length: 12 }, () => wordOf(random)).join(' '));
  const seconds = await secondsOf(() => embedder.embed(texts));
  return count / seconds;
}

async function ownerOf(desk, { size, texts, rounds }) {
  const whose = whoseOf(`size ${size}`);
  const fill = await secondsOf(async () => {
    for (let at = 0; at < size; at += PAGE)
      await desk.answers.add({
        whose,
        drafts: Array.from({ length: Math.min(PAGE, size - at) }, () => aDraft(texts())),
      });
  });
  const search = () =>
    desk.answers.search({ whose, query: texts(), mode: 'hybrid', limit: LIMIT, filter: { superseded: false } });
  await desk.closeOwners();
  const cold = [];
  const before = process.memoryUsage().rss;
  cold.push(1_000 * (await secondsOf(search)));
  const grown = Math.max(0, process.memoryUsage().rss - before);
  for (let round = 1; round < Math.max(2, Math.ceil(rounds / 10)); round += 1) {
    await desk.closeOwners();
    cold.push(1_000 * (await secondsOf(search)));
  }
  const warm = [];
  for (let round = 0; round < rounds; round += 1) warm.push(1_000 * (await secondsOf(search)));
  return { size, per_second: size / fill, cold: spread(cold), warm: spread(warm), rss_bytes: Math.round(grown / size) };
}

/** One memory a request, ten requests at once of ten owners. */
async function writesOf(desk, texts) {
  const count = 500;
  const writer = async (owner) => {
    for (let at = 0; at < count / 10; at += 1)
      await desk.answers.add({ whose: whoseOf(`writer ${owner}`), drafts: [aDraft(texts())] });
  };
  const seconds = await secondsOf(() => Promise.all(Array.from({ length: 10 }, (_, owner) => writer(owner))));
  return { count, perSecond: count / seconds };
}

/** What one owner has into another, in pages as a bundle is taken in. */
async function importOf(desk, from) {
  const pages = [];
  for (let after; ;) {
    const entries = await desk.answers.entryPage({
      whose: from,
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    if (entries.length === 0) break;
    pages.push(entries);
    after = entries.at(-1).id;
  }
  const count = pages.reduce((sum, page) => sum + page.length, 0);
  const seconds = await secondsOf(async () => {
    for (const entries of pages) await desk.answers.putEntries({ whose: whoseOf('imported'), entries });
  });
  return { count, perSecond: count / seconds };
}

/** So many owners of 1,000, each search at one drawn of them: most are cold. */
async function manyOf(desk, { many, texts, random }) {
  for (let owner = 0; owner < many; owner += 1)
    await desk.answers.add({
      whose: whoseOf(`one of many ${owner}`),
      drafts: Array.from({ length: PAGE }, () => aDraft(texts())),
    });
  await desk.closeOwners();
  const times = [];
  for (let at = 0; at < Math.max(100, many); at += 1) {
    const whose = whoseOf(`one of many ${Math.floor(random() * many)}`);
    const ask = { whose, query: texts(), mode: 'hybrid', limit: LIMIT, filter: { superseded: false } };
    times.push(1_000 * (await secondsOf(() => desk.answers.search(ask))));
  }
  return { owners: many, ...spread(times) };
}

async function diskOf(desk, url) {
  await desk.database.flush();
  if (url === undefined)
    return 1_024 * Number(execFileSync('du', ['-sk', desk.folder], { encoding: 'utf8' }).split('\t')[0]);
  const [row] = await desk.database.rows('select pg_database_size(current_database()) as bytes');
  return Number(row.bytes);
}

/** One of so many words, the earlier ones more often, as in a language. */
const wordOf = (random) => `word${Math.floor(WORDS ** random())}`;

async function secondsOf(work) {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1_000;
}

function spread(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { p50: at(0.5), p99: at(0.99), runs: sorted.length };
}
