import { expect, test } from '@jest/globals';
import type { Database, Queries } from '../../src/ground/database/database.ts';
import { lineDigest } from '../../src/proof/memory/entry.ts';
import type { Answer, Ask, Whose } from '../../src/surfaces/memory/memory-calls.ts';
import { memoryIdAt, newMemoryId } from '../../src/surfaces/memory/memory-ids.ts';
import type { MemoryDesk } from '../../src/surfaces/memory/memory-desk.ts';
import { longTest } from './thorough.ts';
import { aDraft, type MemoryFolder } from './memory-desks.ts';

/** What the parts of the contract are given. */
export interface Store {
  readonly folder: MemoryFolder;
  readonly desk: () => MemoryDesk;
  readonly database: () => Database;
  /** An owner whom no other test has. */
  readonly someone: () => Whose;
}

let jobs = 0;

/** What two texts of one job become, and the receipt of that job. */
function anAnswer(place: string, texts: readonly string[], change: Partial<Ask<'takeIn'>> = {}): Ask<'takeIn'> {
  jobs += 1;
  const first = newMemoryId(Date.now());
  const origin = { kind: 'model' as const, from: 'toy', reference: null, rests_on: [], receipt: null };
  return {
    ...{ tenant: 'acme', place, job: `job_test${String(jobs).padStart(26, '0')}`, sources: null },
    ...{ refusal: null, dropped: 1, receipt: `the receipt of ${texts.join(' and ')}` },
    drafts: texts.map((text, at) => aDraft(text, { id: memoryIdAt(first, at), origin })),
    ...change,
  };
}

/** A database that is cut off at one statement: before it is carried out, or after it, and nobody is told. */
class CutDatabase implements Database {
  /** Counts down to the statement. */
  left = Infinity;
  readonly #database: Database;
  readonly #when: 'before' | 'after';

  constructor(database: Database, when: 'before' | 'after') {
    this.#database = database;
    this.#when = when;
  }

  readonly rows: Queries['rows'] = (...asked) => this.#cut(() => this.#database.rows(...asked));

  transaction<Result>(work: (queries: Queries) => Promise<Result>): Promise<Result> {
    return this.#cut(() =>
      this.#database.transaction(({ rows }) => work({ rows: (...asked) => this.#cut(() => rows(...asked)) })),
    );
  }

  flush(): Promise<void> {
    return this.#database.flush();
  }

  purge(tables: readonly string[]): Promise<void> {
    return this.#database.purge(tables);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #cut<Result>(work: () => Promise<Result>): Promise<Result> {
    this.left -= 1;
    const isCut = this.left === 0;
    if (isCut && this.#when === 'before') throw new Error('cut off');
    const result = await work();
    if (isCut) throw new Error('cut off');
    return result;
  }
}

/** What memories that jobs have made promise. */
export function derivedMemoryContract({ folder, desk, database, someone }: Store): void {
  const listed = async (whose: Whose) =>
    (await desk().answers.list({ whose, filter: { superseded: true }, limit: 100 })).entries;
  const placeOf = async (whose: Whose) => (await desk().answers.place({ whose, names: [] })).place;
  const receiptsOf = (whose: Whose, id: string) => desk().answers.receipts({ whose, id });

  const cutting = (when: 'before' | 'after') =>
    (when === 'before' ? longTest : test)(
      `an answer is taken in once, wherever it was cut off the first time, ${when} a statement`,
      async () => {
        let cut = 0;
        for (let n = 1; ; n += 1) {
          const whose = someone();
          const cutOff = new CutDatabase(database(), when);
          const failing = await folder.open(cutOff);
          const said = aDraft('I like tea.');
          await failing.answers.add({ whose, drafts: [said] });
          const { place } = await failing.answers.place({ whose, names: [] });
          const ask = anAnswer(place, ['I like tea.', `I was in Oslo ${n} times.`]);
          cutOff.left = n;
          const result = await failing.answers.takeIn(ask).catch(() => 'cut off');
          if (result === 'cut off') cut += 1;
          // The next process has opened nothing of this owner.
          const other = desk();
          // Another proof of the same job: it is the first receipt that stays.
          const taken = await other.answers.takeIn({ ...ask, receipt: `${ask.receipt}, later` });
          expect(await other.answers.takeIn(ask)).toEqual(taken);
          const [, second = ''] = ask.drafts.map(({ id }) => id);
          expect(taken).toEqual({ job: ask.job, refusal: null, memories: [said.id, second], dropped: 1 });
          const entries = (await other.answers.list({ whose, filter: { superseded: true }, limit: 9 })).entries;
          expect(entries.map(({ id, origins, trust }) => [id, origins.map(({ kind }) => kind), trust])).toEqual(
            [
              [second, ['model'], 'model'],
              [said.id, ['user', 'model'], 'user'],
            ].sort(([a], [b]) => (String(a) > String(b) ? -1 : 1)),
          );
          const kept = await other.answers.receipts({ whose, id: second });
          expect(kept).toEqual(await other.answers.receipts({ whose, id: said.id }));
          expect(kept).toHaveLength(1);
          expect(kept[0]?.sha256).toBe(lineDigest(kept[0]?.text ?? ''));
          expect(entries.find(({ id }) => id === second)?.origins[0]?.receipt?.sha256).toBe(kept[0]?.sha256);
          if (result !== 'cut off') break;
        }
        expect(cut).toBeGreaterThan(5);
      },
    );
  cutting('before');
  cutting('after');

  test('what a model makes of the words of a tool is trusted no more than the tool, whatever it rests on besides', async () => {
    const whose = someone();
    const said = aDraft('She said so.');
    await desk().answers.add({ whose, drafts: [said] });
    const origin = { kind: 'model' as const, from: 'toy', reference: null, rests_on: [said.id], receipt: null };
    const ask = anAnswer(await placeOf(whose), []);
    const drafts = [aDraft('It is late.', { origin: { ...origin, at_most: 'tool' as const } })];
    await desk().answers.takeIn({ ...ask, drafts });
    const [entry] = (await listed(whose)).filter(({ text }) => text === 'It is late.');
    expect([entry?.trust, entry?.origins[0]?.kind]).toEqual(['tool', 'model']);
    const unknown = {
      ...ask,
      job: anAnswer('', []).job,
      drafts: [aDraft('x', { origin: { ...origin, rests_on: ['mem_of_nobody'] } })],
    };
    expect(await desk().answers.takeIn(unknown)).toMatchObject({ refusal: 'memory_not_found', memories: [] });
    await expect(desk().answers.place({ whose, names: ['mem_of_nobody'] })).rejects.toMatchObject({
      code: 'memory_not_found',
    });
  });

  test('a receipt is sealed with its memories, stays with those that stay, and goes with the last', async () => {
    const whose = someone();
    const ask = anAnswer(await placeOf(whose), ['One canary sings.', 'Two canaries sing.']);
    const [first = '', second = ''] = (await desk().answers.takeIn(ask))?.memories ?? [];
    const rows = () => database().rows('select body from receipt where job = $1', [ask.job]);
    const [row] = (await rows()) as { body: Uint8Array }[];
    expect(Buffer.from(row?.body ?? []).includes('canary')).toBe(false);
    await desk().answers.erase({ whose, ids: [first] });
    const sha256 = lineDigest(ask.receipt);
    const kept: Answer<'receipts'> = [{ job: ask.job, sha256, text: ask.receipt }];
    expect(await receiptsOf(whose, second)).toEqual(kept);
    expect(await desk().answers.receiptPage({ whose, limit: 9 })).toEqual(kept);
    expect(await desk().answers.receiptPage({ whose, limit: 9, after: sha256 })).toEqual([]);
    expect(await desk().answers.receiptPage({ whose: { ...whose, sources: [] }, limit: 9 })).toEqual([]);
    await desk().answers.erase({ whose, ids: [second] });
    expect(await rows()).toEqual([]);
    await expect(receiptsOf(whose, second)).rejects.toMatchObject({ code: 'erased' });
  });

  test('an answer brings nobody and nothing back that was erased', async () => {
    const whose = someone();
    const ask = anAnswer(await placeOf(whose), ['I live in Oslo.', 'I live by the sea.']);
    const [first = '', second = ''] = (await desk().answers.takeIn(ask))?.memories ?? [];
    await desk().answers.erase({ whose, ids: [first] });
    // As a crash leaves it before the last step.
    await database().rows('delete from taken_in where job = $1', [ask.job]);
    expect(await desk().answers.takeIn(ask)).toMatchObject({ memories: [second] });
    expect((await listed(whose)).map(({ id }) => id)).toEqual([second]);
    await desk().answers.eraseOwner({ whose });
    expect(await desk().answers.takenIn({ tenant: 'acme', job: ask.job })).toBeNull();
    expect(await desk().answers.takeIn(ask)).toBeNull();
    expect(await desk().answers.owners({ tenant: 'acme' })).not.toContain(whose.owner);
    // Nor does another tenant get at an owner by its place.
    const theirs = await placeOf(someone());
    expect(await desk().answers.takeIn(anAnswer(theirs, ['x'], { tenant: 'other' }))).toBeNull();
  });
}
