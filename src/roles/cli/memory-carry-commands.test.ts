import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { anEntry, bundleOf, sourceOf } from '../../../test/support/memories.ts';
import { importItems, localFile } from '../../surfaces/memory-exchange/import-files.ts';
import { CallerContext } from './caller-context.ts';
import { addMemoryCarryCommands } from './memory-carry-commands.ts';
import { newProgram } from './program.ts';

const folder = mkdtempSync(join(tmpdir(), 'carry-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

const entries = [
  anEntry({ id: 'mem_1', text: 'I am allergic to nuts.\nTo all of them.', valid_from: '2026-05-01T00:00:00.000Z' }),
  anEntry({ id: 'mem_2', text: 'I live in Oslo.', category: null }),
];
const bundle = await bundleOf(sourceOf(entries.map((entry) => ({ entry }))));

async function run(...words: string[]): Promise<void> {
  const program = newProgram();
  addMemoryCarryCommands(new CallerContext(program), program.command('memory'));
  const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    await program.parseAsync(['memory', ...words], { from: 'user' });
  } finally {
    write.mockRestore();
  }
}

async function textsIn(path: string): Promise<string[]> {
  const texts = [];
  for await (const item of importItems([localFile(path)])) if (item.kind === 'memory') texts.push(item.memory.text);
  return texts;
}

describe('countersign memory convert', () => {
  const wanted = entries.map(({ text }) => text);

  test.each([
    ['text', 'pasted.txt'],
    ['mem0', 'mem0.json'],
  ])('writes %s from which an importer reads the same words', async (form, name) => {
    writeFileSync(at('bundle'), bundle);
    await run('convert', at('bundle'), at(name), '--to', form);
    expect(await textsIn(at(name))).toEqual(wanted);
  });

  test('writes Markdown with the day, the origin and the id of each', async () => {
    writeFileSync(at('bundle'), bundle);
    await run('convert', at('bundle'), at('notes.md'), '--to', 'markdown');
    expect(readFileSync(at('notes.md'), 'utf8')).toContain(
      '- [2026-05-01] - I am allergic to nuts.\n  To all of them.\n  _(health; user; mem_1)_',
    );
  });

  test('overwrites nothing, and reads no bundle that was changed', async () => {
    writeFileSync(at('there'), '');
    writeFileSync(at('changed'), bundle.toString().replace('Oslo', 'Roma'));
    await expect(run('convert', at('bundle'), at('there'), '--to', 'text')).rejects.toThrow('exists already');
    await expect(run('convert', at('changed'), at('new'), '--to', 'text')).rejects.toMatchObject({
      code: 'bundle_refused',
    });
  });
});

describe('countersign memory export', () => {
  test('goes on with what was cut off, and keeps nothing that does not verify', async () => {
    const asked: string[] = [];
    let served = bundle;
    const server = createServer((request, response) => {
      const from = Number(new URL(request.url ?? '', 'http://localhost').searchParams.get('from_byte'));
      asked.push(String(from));
      response.end(served.subarray(from));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    writeFileSync(at('key'), 'a key', { mode: 0o600 });
    const options = ['--owner', 'ann', '--url', `http://127.0.0.1:${port}`, '--key-file', at('key')];
    writeFileSync(at('ann.jsonl.part'), bundle.subarray(0, bundle.length - 30));
    await run('export', at('ann.jsonl'), ...options);
    expect(readFileSync(at('ann.jsonl'))).toEqual(bundle);
    expect(Number(asked[0])).toBeGreaterThan(0);
    served = Buffer.from(bundle.toString().replace('Oslo', 'Roma'));
    await expect(run('export', at('other.jsonl'), ...options)).rejects.toMatchObject({ code: 'bundle_refused' });
    server.close();
  });
});
