import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Database } from '../../src/ground/database/database.ts';
import type { MemoryEntry } from '../../src/proof/memory/entry.ts';
import type { Ask } from '../../src/surfaces/memory/memory-calls.ts';
import type { MemoryDesk } from '../../src/surfaces/memory/memory-desk.ts';
import { unseal } from '../../src/surfaces/memory/sealing.ts';
import { KeyStore } from '../../src/surfaces/memory/key-store.ts';
import { WrappingKey } from '../../src/surfaces/memory/wrapping-key.ts';
import { carriedContract } from './carried-contract.ts';
import { derivedMemoryContract } from './derived-memory-contract.ts';
import { historyContract } from './history-contract.ts';
import { aTombstone } from './memories.ts';
import { MemoryFolder, WordEmbedder, aDraft, whoseOf } from './memory-desks.ts';
import { IS_LONG } from './thorough.ts';
import { tracesOf } from './traces.ts';
import { traceContract } from './trace-contract.ts';

const EVERYTHING = { superseded: true } as const;

/** What memories promise on whichever database; `open` opens the same one each time. */
export function memoryContract(open: (folder: string) => Promise<Database>): void {
  const folder = new MemoryFolder();
  let database: Database;
  let desk: MemoryDesk;
  let owners = 0;
  /** An owner whom no other test has. */
  const someone = () => whoseOf({ owner: `owner ${(owners += 1)}` });
  const listed = async (whose: Ask<'list'>['whose']) =>
    (await desk.answers.list({ whose, filter: EVERYTHING, limit: 1_000 })).entries;
  const reopen = async (embedder?: WordEmbedder) => {
    await database.close();
    database = await open(folder.path);
    desk = await folder.open(database, embedder);
  };
  /** Everything that stands in segments of this database, as it stands there. */
  const segments = async () =>
    (await database.rows('select owner, seq, key_version, body from segment')) as {
      owner: string;
      seq: number | string;
      key_version: number;
      body: Uint8Array;
    }[];

  beforeAll(async () => {
    database = await open(folder.path);
    desk = await folder.open(database);
  });
  afterAll(() => database.close());

  derivedMemoryContract({ folder, desk: () => desk, database: () => database, someone });
  carriedContract({ folder, desk: () => desk, someone });
  traceContract({ desk: () => desk, database: () => database, someone });

  test('what was remembered is there after the database was closed and opened, in whatever steps it came', async () => {
    const whose = someone();
    const known = new Map<string, MemoryEntry>();
    const steps = fc.sample(
      fc.record({ texts: fc.array(fc.string({ minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 5 }) }),
      { numRuns: IS_LONG ? 90 : 30, seed: 7 },
    );
    for (const [step, { texts }] of steps.entries()) {
      const drafts = texts.map((text, at) => aDraft(`${step} ${at} ${text}.`));
      for (const { entry } of await desk.answers.add({ whose, drafts })) known.set(entry.id, entry);
      if (step % 3 !== 0) continue;
      const [draft] = drafts;
      const id = draft?.id ?? '';
      const change = { text: `${step} corrected` };
      known.set(id, await desk.answers.correct({ whose, id, change, origin: aDraft('').origin }));
    }
    // One page that is full, between small ones: what is put together later must not take it along.
    const many = Array.from({ length: 1_000 }, (_, at) => aDraft(`one of many, ${at}`));
    for (const { entry } of await desk.answers.add({ whose, drafts: many })) known.set(entry.id, entry);
    for (let at = 0; at < 70; at += 1)
      for (const { entry } of await desk.answers.add({ whose, drafts: [aDraft(`later ${at}`)] }))
        known.set(entry.id, entry);
    await reopen();
    const found: MemoryEntry[] = [];
    for (let before: string | undefined; ;) {
      const page = await desk.answers.list({
        whose,
        filter: EVERYTHING,
        limit: 400,
        ...(before === undefined ? {} : { before }),
      });
      found.push(...page.entries);
      before = page.entries.at(-1)?.id;
      if (!page.more) break;
    }
    expect(new Map(found.map((entry) => [entry.id, entry]))).toEqual(known);
  });

  test('nobody reaches memories of another tenant, owner or app, by any call', async () => {
    const ann = whoseOf({ owner: 'ann the first', sources: ['key-1'] });
    const [made] = await desk.answers.add({ whose: ann, drafts: [aDraft('the word is xylophone')] });
    const id = made?.entry.id ?? '';
    const strangers = [
      { ...ann, tenant: 'other' },
      { ...ann, owner: 'bob' },
      { ...ann, by: 'key-2', sources: ['key-2'] },
      { ...ann, tenant: 'other', owner: null },
      { ...ann, owner: null, by: 'key-2', sources: ['key-2'] },
    ];
    for (const whose of strangers) {
      const gone = { code: 'memory_not_found' };
      await expect(desk.answers.get({ whose, id, action: 'get' })).rejects.toMatchObject(gone);
      await expect(desk.answers.erase({ whose, ids: [id] })).rejects.toMatchObject(gone);
      const correction = { whose, id, change: { text: 'x' }, origin: aDraft('').origin };
      await expect(desk.answers.correct(correction)).rejects.toMatchObject(gone);
      if (whose.owner === null) continue;
      for (const name of ['supersedes', 'contradicts'] as const)
        await expect(desk.answers.add({ whose, drafts: [aDraft('mine', { [name]: [id] })] })).rejects.toMatchObject(
          gone,
        );
      expect(await listed(whose)).toEqual([]);
      for (const mode of ['hybrid', 'semantic', 'text'] as const)
        for (const query of ['xylophone', '*', id])
          expect(await desk.answers.search({ whose, query, mode, limit: 10, filter: EVERYTHING })).toEqual([]);
      expect(await desk.answers.entryPage({ whose, limit: 10 })).toEqual([]);
    }
    expect(await listed(ann)).toHaveLength(1);
  });

  test('what is said again gets one more origin in place of a second memory, and its trust is that of the best', async () => {
    const whose = someone();
    const tool = { kind: 'tool' as const, from: 'calendar', reference: null, rests_on: [], receipt: null };
    await desk.answers.add({ whose, drafts: [aDraft('Ann likes tea', { origin: tool })] });
    const [again] = await desk.answers.add({ whose, drafts: [aDraft('  ann LIKES   tea')] });
    expect(again).toMatchObject({ outcome: 'merged', entry: { version: 2, trust: 'user' } });
    expect(again?.entry.origins.map(({ kind }) => kind)).toEqual(['tool', 'user']);
    const [third] = await desk.answers.add({ whose, drafts: [aDraft('Ann likes tea')] });
    expect(third?.entry).toEqual(again?.entry);
    expect(await listed(whose)).toHaveLength(1);
  });

  test('what reads the same is one memory with all its origins, and what differs, or says so, is another', async () => {
    const whose = someone();
    const add = async (text: string, more: Parameters<typeof aDraft>[1] = {}) =>
      (await desk.answers.add({ whose, drafts: [aDraft(text, more)] }))[0];
    const from = (name: string) => ({
      kind: 'tool' as const,
      from: name,
      reference: null,
      rests_on: [],
      receipt: null,
    });
    const first = await add('Ann said \u201cI like tea\u201d.', { origin: from('a') });
    const id = first?.entry.id ?? '';
    const again = await add('ann said "I like\u00a0TEA"!', { origin: from('b') });
    expect(again).toMatchObject({
      outcome: 'merged',
      entry: { id, trust: 'tool', origins: [{ from: 'a' }, { from: 'b' }] },
    });
    // The words of whoever said it first stay.
    expect(again?.entry.text).toBe(first?.entry.text);
    const [one, two] = await desk.answers.add({ whose, drafts: [aDraft('At once'), aDraft('at once.')] });
    expect([one?.outcome, two?.outcome, two?.entry.id]).toEqual(['created', 'merged', one?.entry.id]);
    const same = 'Ann said "I like tea"';
    const outcomes = [
      await add('Ann said "I like tea"?'),
      await add(same, { valid_to: '2020-01-01T00:00:00.000Z' }),
      await add(same, { contradicts: [id] }),
    ];
    expect(outcomes.map((added) => added?.outcome)).toEqual(['created', 'created', 'created']);
    // What holds again after it did not is found, and not put to what another memory stands for.
    const oslo = await add('lives in Oslo');
    const rome = await add('lives in Rome', { supersedes: [oslo?.entry.id ?? ''] });
    const back = await add('lives in Oslo', { supersedes: [rome?.entry.id ?? ''] });
    expect(back?.outcome).toBe('created');
    const { entries } = await desk.answers.list({ whose, filter: { superseded: false }, limit: 100 });
    expect(entries.filter(({ text }) => text.startsWith('lives')).map((entry) => entry.id)).toEqual([back?.entry.id]);
  });

  test('less trusted words take the place of none that are more trusted, whatever they rest on', async () => {
    const whose = someone();
    const of = (kind: 'user' | 'model' | 'tool' | 'import', rests_on: string[] = []) => ({
      origin: { kind, from: null, reference: null, rests_on, receipt: null },
    });
    const [user, tool] = await desk.answers.add({
      whose,
      drafts: [aDraft('my name is Ann', of('user')), aDraft('her name is Eve', of('tool'))],
    });
    const [said, told] = [user?.entry.id ?? '', tool?.entry.id ?? ''];
    const low = { code: 'trust_too_low' };
    const superseding = (kind: 'user' | 'model', rests_on: string[]) =>
      desk.answers.add({ whose, drafts: [aDraft(`new ${kind}`, { supersedes: [said], ...of(kind, rests_on) })] });
    await expect(superseding('model', [])).rejects.toMatchObject(low);
    await expect(superseding('user', [told])).rejects.toMatchObject(low);
    const correction = { whose, id: said, change: { text: 'my name is Eve' }, origin: of('tool').origin };
    await expect(desk.answers.correct(correction)).rejects.toMatchObject(low);
    const [derived] = await desk.answers.add({ whose, drafts: [aDraft('both', of('user', [said, told]))] });
    expect(derived?.entry.trust).toBe('tool');
    await superseding('user', [said]);
    const shown = await desk.answers.list({ whose, filter: { superseded: false }, limit: 10 });
    expect(shown.entries.map(({ id }) => id)).not.toContain(said);
  });

  test('a search says why, leaves out what the filter does, and is in the log of the owner, as every read', async () => {
    const whose = someone();
    await desk.answers.add({
      whose,
      drafts: [
        aDraft('I am allergic to peanuts', { category: 'health' }),
        aDraft('the meeting is on Friday', { category: 'work', valid_to: '2026-01-01T00:00:00.000Z' }),
        aDraft('peanuts are legumes', { category: 'facts' }),
      ],
    });
    const search = (query: string, filter: Partial<Ask<'search'>['filter']> = {}) =>
      desk.answers.search({ whose, query, mode: 'hybrid', limit: 5, filter: { superseded: false, ...filter } });
    const [first] = await search('allergic peanuts');
    expect(first).toMatchObject({
      entry: { category: 'health' },
      semantic: { rank: 1 },
      text: { rank: 1, coverage: 1, counted: true, words: ['allerg', 'peanut'] },
    });
    const inFacts = await search('allergic peanuts', { category: 'facts' });
    expect(inFacts.map(({ entry }) => entry.category)).toEqual(['facts']);
    const now = await search('meeting Friday', { valid_at: '2026-06-01T00:00:00.000Z' });
    expect(now.map(({ entry }) => entry.category)).not.toContain('work');
    // Who corrects nothing has read it.
    await desk.answers.correct({ whose, id: first?.entry.id ?? '', change: {}, origin: aDraft('').origin });
    const accesses = await desk.answers.accesses({ whose, limit: 10 });
    expect(accesses.map(({ action, by, memories }) => [action, by, memories.length])).toEqual([
      ['correct', 'key-1', 1],
      ['search', 'key-1', 2],
      ['search', 'key-1', 1],
      ['search', 'key-1', 3],
    ]);
  });

  test('a search says nothing of what its caller may not see, not even which words stand there', async () => {
    const all = someone();
    const mine = { ...all, sources: ['key-2'] };
    await desk.answers.add({ whose: mine, drafts: [aDraft('the zebra is mine', { source: 'key-2' })] });
    const found = () =>
      desk.answers.search({ whose: mine, query: 'zebra cancer', mode: 'text', limit: 5, filter: EVERYTHING });
    const before = await found();
    expect(before).toHaveLength(1);
    await desk.answers.add({ whose: all, drafts: [aDraft('she has cancer'), aDraft('the cancer came back')] });
    expect(await found()).toEqual(before);
  });

  test('after another embedder was chosen, memories are embedded again and found by meaning', async () => {
    const whose = someone();
    await desk.answers.add({ whose, drafts: [aDraft('the cat sleeps')] });
    await reopen(new WordEmbedder('another'));
    const ask = { whose, query: 'cat', mode: 'semantic' as const, limit: 5, filter: EVERYTHING };
    expect(await desk.answers.search(ask)).toMatchObject([{ semantic: { rank: 1 } }]);
    await reopen();
  });

  test('an erased memory is in no file, and no key opens what was sealed before; the others stay', async () => {
    const whose = someone();
    const canary = 'quinquireme of nineveh';
    const [erased, kept] = await desk.answers.add({ whose, drafts: [aDraft(canary), aDraft('plain')] });
    const [gone, stays] = [erased?.entry.id ?? '', kept?.entry.id ?? ''];
    await desk.answers.correct({ whose, id: gone, change: { text: `${canary} again` }, origin: aDraft('').origin });
    const before = await segments();
    const [receipt] = await desk.answers.erase({ whose, ids: [gone] });
    expect(JSON.parse(receipt?.statement ?? '')).toMatchObject({
      scope: 'memory',
      memories: [gone],
      removed: 1,
      resealed: 1,
    });
    await expect(desk.answers.get({ whose, id: gone, action: 'get' })).rejects.toMatchObject({ code: 'erased' });
    expect(await desk.answers.erase({ whose, ids: [gone] })).toEqual([receipt]);
    expect(await desk.answers.get({ whose, id: stays, action: 'get' })).toEqual(kept?.entry);
    expect(await desk.answers.tombstonePage({ whose, limit: 5 })).toMatchObject([
      { id: gone, reason: 'erased', receipt: receipt?.sha256 },
    ]);
    await expect(desk.answers.add({ whose, drafts: [aDraft('x', { id: gone })] })).rejects.toMatchObject({
      code: 'erased',
    });
    const { owner } = JSON.parse(receipt?.statement ?? '{}') as { owner: string };
    const ours = before.filter((segment) => segment.owner === owner);
    expect(ours.length).toBeGreaterThan(0);
    const keys = new KeyStore(join(folder.path, 'keys'), WrappingKey.read(folder.keyFile));
    for (const { seq, key_version, body } of ours)
      for (let version = 0; version < 5; version += 1) {
        const key = await keys.get(owner, version);
        if (key !== undefined)
          expect(unseal(key, [whose.tenant, owner, key_version, Number(seq)], body)).toBeUndefined();
      }
    await reopen();
    expect(await listed(whose)).toEqual([kept?.entry]);
    const vectors = (await new WordEmbedder().embed([canary, `${canary} again`])).map(({ values }) =>
      Buffer.from(values.buffer, values.byteOffset, 32),
    );
    expect(tracesOf(folder.path, canary, vectors)).toEqual([]);
    // The search finds each kind of trace where there is one.
    const planted = mkdtempSync(join(tmpdir(), 'cs-traces-'));
    const pieces = Array.from({ length: canary.length - 2 }, (_, at) => canary.slice(at, at + 3)).join('\0\x07');
    for (const [name, bytes] of Object.entries({
      raw: `x${canary}y`,
      base64: Buffer.from(`zz${canary}zzz`).toString('base64'),
      vector: Buffer.concat([Buffer.from('x'), ...vectors]),
      ...(IS_LONG ? { pieces } : {}),
    }))
      writeFileSync(join(planted, name), bytes);
    const names = tracesOf(planted, canary, vectors).map((path) => basename(path));
    expect(names.toSorted()).toEqual(readdirSync(planted).toSorted());
    rmSync(planted, { recursive: true });
  });

  test('an erasure that a crash has cut off is carried on at the next start', async () => {
    const whose = someone();
    const [made] = await desk.answers.add({ whose, drafts: [aDraft('cut off'), aDraft('stays')] });
    const id = made?.entry.id ?? '';
    const flush = database.flush.bind(database);
    database.flush = () => Promise.reject(new Error('the process ends here'));
    await expect(desk.answers.erase({ whose, ids: [id] })).rejects.toThrow('the process ends here');
    database.flush = flush;
    await reopen();
    const [receipt] = await desk.answers.erase({ whose, ids: [id] });
    const { owner } = JSON.parse(receipt?.statement ?? '{}') as { owner: string };
    const keys = new KeyStore(join(folder.path, 'keys'), WrappingKey.read(folder.keyFile));
    expect(await keys.get(owner, 1)).toBeUndefined();
    expect(await listed(whose)).toHaveLength(1);
  });

  test('what its category is kept no longer is erased as if somebody had asked, and nothing else', async () => {
    const whose = someone();
    const [brief, other] = await desk.answers.add({
      whose,
      drafts: [aDraft('for now', { category: 'brief' }), aDraft('for ever', { category: 'long' })],
    });
    const made = Date.parse(brief?.entry.created_at ?? '');
    await desk.tidy(made + 59_999);
    expect(await listed(whose)).toHaveLength(2);
    await desk.tidy(made + 60_000);
    expect(await listed(whose)).toEqual([other?.entry]);
    expect(await desk.answers.tombstonePage({ whose, limit: 5 })).toMatchObject([
      { id: brief?.entry.id, reason: 'expired', receipt: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
    // The key that did not erase it is not told how it went.
    const stranger = { ...whose, sources: ['key-1'] };
    const again = desk.answers.erase({ whose: stranger, ids: [brief?.entry.id ?? ''] });
    await expect(again).rejects.toMatchObject({ code: 'memory_not_found' });
  });

  test('a profile shows what holds and what its reader may see, and stands in the log of reads', async () => {
    const whose = someone();
    const add = async (text: string, more: Parameters<typeof aDraft>[1] = {}) =>
      (await desk.answers.add({ whose, drafts: [aDraft(text, more)] }))[0]?.entry.id ?? '';
    const bounds = { filter: { superseded: false }, lines: 50, ofEach: 10 };
    const shown = async (of = whose) =>
      (await desk.answers.profile({ whose: of, ...bounds })).sections.flatMap(({ lines }) =>
        lines.map(({ text, memories }) => [text, ...memories]),
      );
    await expect(shown()).rejects.toMatchObject({ code: 'owner_not_found' });
    const oslo = await add('lives in Oslo', { source: 'mine' });
    const rome = await add('lives in Rome', { supersedes: [oslo] });
    const past = await add('is on holiday', { valid_to: '2020-01-01T00:00:00.000Z' });
    expect(await shown()).toEqual([['lives in Rome', rome]]);
    expect(await desk.answers.accesses({ whose, limit: 1 })).toMatchObject([{ action: 'profile', memories: [rome] }]);
    // What another app wrote neither shows, nor says that there is such an owner.
    expect(await shown({ ...whose, sources: ['mine'] })).toEqual([]);
    await expect(shown({ ...whose, sources: ['another'] })).rejects.toMatchObject({ code: 'owner_not_found' });
    await desk.answers.erase({ whose, ids: [rome, past] });
    expect(await shown()).toEqual([['lives in Oslo', oslo]]);
  });

  test('an owner that cannot be opened keeps nobody else’s memories longer', async () => {
    const both = [someone(), someone()];
    const places = new Map<string, (typeof both)[number]>();
    for (const whose of both) {
      const [made] = await desk.answers.add({ whose, drafts: [aDraft('for now', { category: 'brief' })] });
      const [row] = await database.rows('select owner from memory where id = $1', [made?.entry.id ?? '']);
      places.set((row as { owner: string }).owner, whose);
    }
    const [before, behind] = [...places].sort(([a], [b]) => (a < b ? -1 : 1));
    if (before === undefined || behind === undefined) throw new Error('Two owners were to be made.');
    const [[broken, first], [, second]] = [before, behind];
    await database.rows('update segment set body = $2 where owner = $1', [broken, Buffer.from('spoilt')]);
    // Late enough that what is open is closed.
    await expect(desk.tidy(Date.now() + 3_600_000)).rejects.toThrow(/cannot be opened/);
    expect(await listed(second)).toEqual([]);
    await desk.answers.eraseOwner({ whose: first });
  });

  test('an erased owner has nothing left, and its name begins anew', async () => {
    const whose = someone();
    await desk.answers.add({ whose, drafts: [aDraft('all of it')] });
    await listed(whose);
    const receipt = await desk.answers.eraseOwner({ whose });
    expect(JSON.parse(receipt.statement)).toMatchObject({ scope: 'owner', removed: 1 });
    await expect(desk.answers.eraseOwner({ whose })).rejects.toMatchObject({ code: 'owner_not_found' });
    expect(await listed(whose)).toEqual([]);
    await expect(desk.answers.accesses({ whose, limit: 5 })).rejects.toMatchObject({ code: 'owner_not_found' });
    expect(await desk.answers.owners({ tenant: whose.tenant })).not.toContain(whose.owner);
    expect((await desk.answers.unlogged({ tenant: whose.tenant })).map(({ erasure }) => erasure)).toContain(
      receipt.erasure,
    );
    await desk.answers.logged({ tenant: whose.tenant, erasures: [receipt.erasure] });
    expect((await desk.answers.unlogged({ tenant: whose.tenant })).map(({ erasure }) => erasure)).not.toContain(
      receipt.erasure,
    );
    await desk.answers.add({ whose, drafts: [aDraft('a new beginning')] });
    expect(await listed(whose)).toHaveLength(1);
    expect(await desk.answers.owners({ tenant: whose.tenant })).toContain(whose.owner);
  });

  test('entries are taken in as they are, once, and never over one that differs or was taken away', async () => {
    const [from, to] = [someone(), someone()];
    await desk.answers.add({ whose: from, drafts: [aDraft('one'), aDraft('two')] });
    const entries = await desk.answers.entryPage({ whose: from, limit: 10 });
    expect(await desk.answers.putEntries({ whose: to, entries })).toEqual(['kept', 'kept']);
    expect(await desk.answers.putEntries({ whose: to, entries })).toEqual(['same', 'same']);
    expect(await desk.answers.entryPage({ whose: to, limit: 10 })).toEqual(entries);
    const changed = entries.map((entry) => ({ ...entry, agent: 'another' }));
    expect(await desk.answers.putEntries({ whose: to, entries: changed })).toEqual(['conflict', 'conflict']);
    await desk.answers.erase({ whose: to, ids: entries.map(({ id }) => id) });
    expect(await desk.answers.putEntries({ whose: to, entries })).toEqual(['buried', 'buried']);
    const tombstones = await desk.answers.tombstonePage({ whose: to, limit: 10 });
    expect(await desk.answers.buryMemories({ whose: from, tombstones })).toEqual(['conflict', 'conflict']);
    const third = someone();
    expect(await desk.answers.buryMemories({ whose: third, tombstones })).toEqual(['kept', 'kept']);
    expect(await desk.answers.tombstonePage({ whose: third, limit: 10 })).toEqual(tombstones);
  });

  test('an import for one app neither speaks for another, nor takes the place of what the other wrote', async () => {
    const whose = someone();
    const [own, other] = [{ ...whose, sources: ['mine'] }, 'theirs'];
    await desk.answers.add({ whose, drafts: [aDraft('tea', { source: other })] });
    const [theirs] = await desk.answers.entryPage({ whose, limit: 10 });
    if (theirs === undefined) throw new Error('There is a memory.');
    const mine = { ...theirs, source: 'mine', text: 'coffee' };
    const entries = [
      { ...mine, id: 'mem_own' },
      { ...mine, id: 'mem_as_another', source: other },
      { ...mine, id: 'mem_in_its_place', supersedes: [theirs.id] },
    ];
    expect(await desk.answers.putEntries({ whose: own, entries })).toEqual(['kept', 'conflict', 'conflict']);
    expect(await desk.answers.putEntries({ whose, entries })).toEqual(['same', 'kept', 'kept']);
    // Nor does it keep out what the other may bring yet, also where nobody has brought anything.
    const tombstones = [aTombstone({ id: 'mem_of_theirs_to_come' })];
    expect(await desk.answers.buryMemories({ whose: own, tombstones })).toEqual(['conflict']);
    expect(await desk.answers.buryMemories({ whose: { ...someone(), sources: ['mine'] }, tombstones })).toEqual([
      'conflict',
    ]);
    expect(await desk.answers.buryMemories({ whose, tombstones })).toEqual(['kept']);
  });

  test('a tenant that was closed makes no owner, whoever asked before, and its last ones can be erased', async () => {
    const tenant = 'leaving';
    const whose = { ...someone(), tenant };
    await desk.answers.add({ whose, drafts: [aDraft('kept till now')] });
    const asked = Array.from({ length: 8 }, (_, n) => ({ ...whose, owner: `on its way ${n}` }));
    const added = asked.map((one) => desk.answers.add({ whose: one, drafts: [aDraft('late')] }).then(() => one.owner));
    await desk.answers.closeTenant({ tenant });
    const owners = await desk.answers.owners({ tenant });
    const outcomes = await Promise.allSettled(added);
    expect(owners.toSorted()).toEqual(
      [whose.owner, ...outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))].toSorted(),
    );
    const late = desk.answers.add({ whose: { ...whose, owner: 'too late' }, drafts: [aDraft('late')] });
    await expect(late).rejects.toMatchObject({ code: 'tenant_deleted' });
    for (const owner of owners) await desk.answers.eraseOwner({ whose: { ...whose, owner } });
    const again = desk.answers.add({ whose, drafts: [aDraft('late')] });
    await expect(again).rejects.toMatchObject({ code: 'tenant_deleted' });
    expect(await desk.answers.owners({ tenant })).toEqual([]);
  });

  historyContract(() => desk);

  test('keys are sealed under a new wrapping key at the next start, and the old one is needed no more', async () => {
    const whose = someone();
    await desk.answers.add({ whose, drafts: [aDraft('before the rotation')] });
    folder.addWrappingKey();
    await reopen();
    const [newest = ''] = readFileSync(folder.keyFile, 'utf8').split('\n');
    const files = readdirSync(join(folder.path, 'keys'), { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => JSON.parse(readFileSync(join(one.parentPath, one.name), 'utf8')) as { under: string });
    expect(new Set(files.map(({ under }) => under))).toEqual(new Set([WrappingKey.read(folder.keyFile).id]));
    expect(newest).not.toBe('');
    expect(await listed(whose)).toHaveLength(1);
  });
}
