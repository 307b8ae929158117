import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { zipOf, type ZipPart } from '../../../test/support/zip.ts';
import { ENTRY_LIMITS } from '../../proof/memory/entry.ts';
import type { ImportedMemory } from './imported.ts';
import { importItems, localFile } from './import-files.ts';
import { ImportTally, requireKept, type ImportReport } from './import-report.ts';

const folder = mkdtempSync(join(tmpdir(), 'imports-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Read {
  readonly memories: ImportedMemory[];
  readonly report: ImportReport;
}

async function imported(name: string, content: string | Buffer, user?: string): Promise<Read> {
  const path = join(folder, name);
  writeFileSync(path, content);
  const tally = new ImportTally();
  const memories = [];
  for await (const item of importItems([localFile(path)], { user })) {
    const kept = tally.take(item);
    if (kept?.kind === 'memory') memories.push(kept.memory);
  }
  return { memories, report: tally.report() };
}
const json = (name: string, value: unknown) => imported(name, JSON.stringify(value));
const texts = ({ memories }: Read) => memories.map(({ text }) => text);

const node = (id: string, parent: string | null, role: string, parts: unknown[], more: object = {}) => ({
  ...{ id, parent, children: [] },
  message: { id, author: { role }, create_time: 1_790_000_001.5, content: { content_type: 'text', parts }, ...more },
});
const conversation = (nodes: { id: string }[], current: string | null, more: object = {}) => ({
  title: 'Trip',
  conversation_id: 'cv1',
  current_node: current,
  mapping: Object.fromEntries(nodes.map((one) => [one.id, one])),
  ...more,
});
const trip = conversation(
  [
    { id: 'r', parent: null, message: null, children: ['a'] } as never,
    node('a', 'r', 'user', ['I moved to Oslo']),
    node('b', 'a', 'assistant', ['(old answer)']),
    node('c', 'a', 'assistant', ['Noted.'], { create_time: null }),
  ],
  'c',
);

describe('an export of ChatGPT', () => {
  test('says what stands on the current branch, and nothing that was edited away', async () => {
    const read = await json('conversations.json', [trip]);
    expect(texts(read)).toEqual(['I moved to Oslo', 'Noted.']);
    expect(read.report).toMatchObject({ read: 4, kept: 2, skipped: { 'off the current branch': 1, 'no message': 1 } });
    expect(read.memories[1]).toMatchObject({
      ...{ type: 'episodic', from: 'ChatGPT', reference: 'c', thread: 'cv1' },
      ...{ valid_from: '2026-09-21T14:13:21.500Z', metadata: { role: 'assistant', title: 'Trip' } },
    });
  });

  test('without a current node says its newest leaf, and a circle ends', async () => {
    const newer = { create_time: 1_790_000_009 };
    const nodes = [
      node('a', null, 'user', ['hi']),
      node('b', 'a', 'assistant', ['old']),
      node('c', 'a', 'assistant', ['new'], newer),
    ];
    expect(texts(await json('conversations-000.json', [conversation(nodes, 'gone')]))).toEqual(['hi', 'new']);
    const circle = [node('a', 'b', 'user', ['one']), node('b', 'a', 'user', ['two'])];
    expect(texts(await json('conversations-001.json', [conversation(circle, 'a')]))).toEqual(['two', 'one']);
  });

  test.each([
    ['a tool', node('a', null, 'tool', ['x']), 'role tool'],
    ['what was said to a tool', node('a', null, 'assistant', ['x'], { recipient: 'browser' }), 'said to a tool'],
    [
      'what is hidden',
      node('a', null, 'user', ['x'], { metadata: { is_visually_hidden_from_conversation: true } }),
      'hidden',
    ],
    [
      'thoughts',
      node('a', null, 'assistant', [], { content: { content_type: 'thoughts', thoughts: [] } }),
      'content thoughts',
    ],
    ['an image alone', node('a', null, 'user', [{ content_type: 'image_asset_pointer' }], {}), 'empty'],
  ])('leaves out %s and says so', async (_, one, reason) => {
    expect((await json('conversations.json', [conversation([one], 'a')])).report).toMatchObject({
      kept: 0,
      skipped: { [reason]: 1 },
    });
  });

  test('leaves out what was marked so, keeps spoken words, and what the person asked to be kept in mind', async () => {
    const forgotten = { ...trip, is_do_not_remember: true };
    const spoken = node('a', null, 'user', ['Look:', { content_type: 'audio_transcription', text: 'a fjord' }], {
      content: {
        content_type: 'multimodal_text',
        parts: ['Look:', { content_type: 'audio_transcription', text: 'a fjord' }],
      },
    });
    const asked = node('a', null, 'user', [], {
      metadata: { is_visually_hidden_from_conversation: true },
      content: { content_type: 'user_editable_context', user_profile: 'A nurse.', user_instructions: 'Be brief.' },
    });
    const read = await json('conversations.json', [forgotten, conversation([spoken], 'a'), conversation([asked], 'a')]);
    expect(texts(read)).toEqual(['Look:\na fjord', 'A nurse.\nBe brief.']);
    expect(read.memories[1]).toMatchObject({ type: 'semantic', category: 'instructions' });
    expect(read.report.skipped).toMatchObject({ 'marked do-not-remember': 2 });
  });

  test('is read from shards in a zip, and what else is there is left out by name', async () => {
    const parts: ZipPart[] = [
      { name: 'export/conversations-000.json', bytes: JSON.stringify([trip]) },
      { name: 'export/conversations-001.json', bytes: JSON.stringify([trip]) },
      { name: 'export/chat.html', bytes: '<p>' },
      { name: 'export/user.json', bytes: '{"id":"u","email":"a@example.com"}' },
    ];
    const { report } = await imported('chatgpt.zip', zipOf(parts));
    expect(report).toMatchObject({
      kept: 4,
      skipped: { 'file of another kind': 1, 'of no known form (id, email)': 1 },
    });
  });

  test('with one broken conversation gives all others, and a fault that leads to it', async () => {
    const read = await json('conversations.json', [{ mapping: 7 }, trip]);
    expect(read.report).toMatchObject({
      kept: 2,
      faults: 1,
      first_faults: [{ where: 'conversations.json, element 1' }],
    });
  });
});

const claude = (messages: object[]) => ({ uuid: 'k1', name: '', chat_messages: messages });
const human = { uuid: 'm1', sender: 'human', text: '', content: [{ type: 'text', text: 'I am allergic to nuts' }] };
const answer = {
  ...{
    uuid: 'm2',
    sender: 'assistant',
    text: 'not this',
    attachments: [{}],
    created_at: '2026-08-01T10:00:05.000001Z',
  },
  content: [
    { type: 'thinking', thinking: '…' },
    { type: 'text', text: 'Understood.' },
  ],
};

describe('an export of Claude', () => {
  test('says its text blocks, and the plain text where there are none', async () => {
    const read = await json('conversations.json', [
      claude([human, answer, { uuid: 'm3', sender: 'human', text: 'Bye' }]),
    ]);
    expect(texts(read)).toEqual(['I am allergic to nuts', 'Understood.', 'Bye']);
    expect(read.memories[1]).toMatchObject({ from: 'Claude', thread: 'k1', valid_from: '2026-08-01T10:00:05.000Z' });
    expect(read.report.skipped).toEqual({ attachment: 1 });
  });

  test('follows the newest branch where messages name their parents', async () => {
    const old = { ...answer, uuid: 'old', parent_message_uuid: 'm1', created_at: '2026-08-01T10:00:01Z' };
    const read = await json('conversations.json', [claude([human, old, { ...answer, parent_message_uuid: 'm1' }])]);
    expect(texts(read)).toEqual(['I am allergic to nuts', 'Understood.']);
    expect(read.report.skipped).toMatchObject({ 'off the current branch': 1 });
  });

  test('says what is kept in mind, paragraph by paragraph, also as one object in a zip in a zip', async () => {
    const kept = {
      conversations_memory: '**Work context**\n\nWorks as a nurse.\n\nLikes nights.\n',
      project_memories: { p1: 'Builds a boat.' },
      account_uuid: 'u1',
    };
    const inner = zipOf([{ name: 'memories/acct.json', bytes: JSON.stringify({ ...kept, memory_files: [] }) }]);
    const read = await imported('claude.zip', zipOf([{ name: 'memories-000.zip', bytes: inner }]));
    expect(texts(read)).toEqual(['Works as a nurse.', 'Likes nights.', 'Builds a boat.']);
    expect(read.memories.map(({ category }) => category)).toEqual(['Work context', 'Work context', null]);
    expect(texts(await json('memories.json', [kept]))).toEqual(texts(read));
  });
});

describe('memories of Mem0 and plain ones', () => {
  const item = { id: 'i1', memory: 'Likes tea', user_id: 'ann', categories: ['food', 'drinks'], run_id: 't1' };

  test.each([
    ['a page', { count: 1, next: null, results: [item] }],
    ['a bare array', [item]],
    ['another name of the list', { memories: [item] }],
  ])('are read from %s', async (_, value) => {
    const { memories, report } = await json('mem0.json', value);
    expect(memories).toMatchObject([
      {
        text: 'Likes tea',
        from: 'Mem0',
        reference: 'i1',
        category: 'food',
        thread: 't1',
        metadata: { categories: ['drinks'] },
      },
    ]);
    expect(report).toMatchObject({ read: 1, kept: 1 });
  });

  test('of several people are those of one', async () => {
    const list = [item, { ...item, id: 'i2', user_id: 'bob', memory: 'Likes rum' }];
    expect(texts(await imported('a.json', JSON.stringify(list)))).toEqual(['Likes tea']);
    expect(texts(await imported('a.json', JSON.stringify(list), 'bob'))).toEqual(['Likes rum']);
  });

  test('are read from lines, each by itself', async () => {
    const read = await imported(
      'a.jsonl',
      '{"text":"one"}\n\nnonsense\n{"content":"two","type":"episodic"}\n{"a":1}\n"x"\n',
    );
    expect(texts(read)).toEqual(['one', 'two']);
    expect(read.report).toMatchObject({ faults: 2, skipped: { 'of no known form (a)': 1 } });
    expect(read.report.first_faults.map(({ where }) => where)).toEqual(['a.jsonl, line 3', 'a.jsonl, line 6']);
  });
});

test('Markdown is read item by item under its headings, and headings are counted', async () => {
  const text =
    '---\ntitle: x\n---\n# Food\n- likes tea\n  with milk\n- hates rum\n\nA paragraph\nof two lines.\n\n***\n## Work\n1. nurse\n';
  const read = await imported('notes.md', text);
  expect(read.memories.map(({ category, text: said }) => `${category}: ${said}`)).toEqual([
    'Food: likes tea\nwith milk',
    'Food: hates rum',
    'Food: A paragraph\nof two lines.',
    'Work: nurse',
  ]);
  expect(read.report.skipped).toEqual({ 'read as a heading': 2 });
});

describe('whatever the file holds', () => {
  test('what was read is kept, skipped or a fault, and no text is lost that was kept in parts', async () => {
    const long = Array.from({ length: 9_000 }, (_, at) => `word${at}`).join(' ');
    const { memories } = await json('a.json', [{ text: long, id: 'x' }]);
    expect(memories.map(({ text }) => text.length <= ENTRY_LIMITS.textChars)).toEqual(memories.map(() => true));
    expect(
      memories
        .map(({ text }) => text)
        .join('')
        .replaceAll(' ', ''),
    ).toBe(long.replaceAll(' ', ''));
    expect(new Set(memories.map(({ reference }) => reference)).size).toBe(memories.length);
  });

  test('it never stops an importer, and every count adds up', async () => {
    const name = fc.constantFrom('a.json', 'a.jsonl', 'a.md', 'a.txt', 'a.bin');
    const anything = fc.oneof(
      fc.json(),
      fc.string({ unit: 'binary' }),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      fc
        .array(fc.oneof(fc.constant(trip), fc.constant(claude([human])), fc.jsonValue()))
        .map((one) => JSON.stringify(one)),
    );
    await fc.assert(
      fc.asyncProperty(name, anything, async (file, content) => {
        const { report } = await imported(file, content);
        const skipped = Object.values(report.skipped).reduce((sum, count) => sum + count, 0);
        expect(report.read).toBe(report.kept + skipped + report.faults);
      }),
    );
  });

  test('half a character is a fault of its element alone', async () => {
    const read = await imported('a.json', '[{"text":"\\ud800"},{"text":"whole"}]');
    expect(read.report).toMatchObject({ kept: 1, faults: 1 });
  });

  test('a file of which nothing is kept is an error that says what was there', async () => {
    const { report } = await json('a.json', [{ messages: [], role: 'user', title: 'x' }]);
    expect(() => {
      requireKept(report);
    }).toThrow('messages, role, title');
  });
});
