import type { BundleReading } from '../../proof/memory/bundle-reader.ts';
import type { MemoryEntry } from '../../proof/memory/entry.ts';

/** Memories as a person reads them, each with its day, its origin and its id; history is left out. */
export async function* markdownOf(readings: AsyncIterable<BundleReading>): AsyncGenerator<string> {
  yield '# What is remembered\n\n';
  for await (const { entry } of entriesOf(readings)) yield `${markdownItem(entry)}\n`;
}

function markdownItem(entry: MemoryEntry): string {
  const [first = '', ...rest] = entry.text.split('\n');
  const said = [first, ...rest.map((line) => `  ${line}`)].join('\n');
  const origins = entry.origins.map(({ kind, from }) => (from === null ? kind : `${kind}: ${from}`)).join(', ');
  const notes = [
    ...(entry.category === null ? [] : [entry.category]),
    origins,
    ...(entry.valid_to === null ? [] : [`until ${entry.valid_to.slice(0, 10)}`]),
    entry.id,
  ];
  return `- [${dayOf(entry)}] - ${said}\n  _(${notes.join('; ')})_`;
}

/** The text that Claude and Gemini ask people to paste: one code block, one entry a line. */
export async function* transferTextOf(readings: AsyncIterable<BundleReading>): AsyncGenerator<string> {
  yield '```\n';
  for await (const { entry } of entriesOf(readings)) {
    const [first = '', ...rest] = entry.text
      .replaceAll('```', "'''")
      .split('\n')
      .filter((line) => line.trim() !== '');
    yield `[${dayOf(entry)}] - ${[first.trim(), ...rest.map((line) => `  ${line.trim()}`)].join('\n')}\n`;
  }
  yield '```\n';
}

/** A list as Mem0 gives it, one memory at a time. */
export async function* mem0ListOf(readings: AsyncIterable<BundleReading>, user: string): AsyncGenerator<string> {
  let between = '{"results":[\n';
  for await (const { entry } of entriesOf(readings)) {
    yield between + JSON.stringify(mem0Item(entry, user));
    between = ',\n';
  }
  yield between === ',\n' ? '\n]}\n' : '{"results":[]}\n';
}

/** A memory in the words of Mem0. */
export function mem0Item(entry: MemoryEntry, user: string): Record<string, unknown> {
  return {
    id: entry.id,
    memory: entry.text,
    user_id: user,
    agent_id: entry.agent,
    run_id: entry.thread,
    metadata: entry.metadata,
    categories: entry.category === null ? [] : [entry.category],
    created_at: entry.created_at,
    updated_at: entry.updated_at,
    expiration_date: entry.valid_to?.slice(0, 10) ?? null,
  };
}

/** The day since when it holds; when it was noted says nothing of that. */
const dayOf = ({ valid_from }: MemoryEntry) => valid_from?.slice(0, 10) ?? 'date unknown';

async function* entriesOf(readings: AsyncIterable<BundleReading>): AsyncGenerator<{ entry: MemoryEntry }> {
  for await (const reading of readings) if (reading.kind === 'entry') yield reading;
}
