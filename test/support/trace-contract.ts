import { expect, test } from '@jest/globals';
import { AccessLog } from '../../src/surfaces/memory/access-log.ts';
import { Tombstones } from '../../src/surfaces/memory/tombstones.ts';
import type { Store } from './derived-memory-contract.ts';
import { aDraft } from './memory-desks.ts';

const DAY_MS = 86_400_000;

/** What is promised of traces: who read, and what was taken away. */
export function traceContract({ desk, database, someone }: Omit<Store, 'folder'>): void {
  test('of reads the newest of each owner are kept, and none for longer than is said', async () => {
    const log = new AccessLog(database(), { keptMs: DAY_MS, ofOwner: 3 });
    const [one, other] = ['own_reads_one', 'own_reads_other'];
    const numbers = async (owner: string) => (await log.list(owner, 10, undefined)).map(({ memories }) => memories[0]);
    for (let at = 0; at < 5; at += 1) await log.note(one, 'key-1', 'list', [`mem_${at}`]);
    await log.note(other, 'key-1', 'list', ['mem_of_other']);
    await log.trim(Date.now());
    expect(await numbers(one)).toEqual(['mem_4', 'mem_3', 'mem_2']);
    expect(await numbers(other)).toEqual(['mem_of_other']);
    await log.trim(Date.now() + DAY_MS - 60_000);
    expect(await numbers(other)).toEqual(['mem_of_other']);
    // One who does not know which owners have read anything forgets by age all the same.
    await new AccessLog(database(), { keptMs: 0, ofOwner: 3 }).trim(Date.now() + 60_000);
    expect(await numbers(one)).toEqual([]);
  });

  test('of what was taken away the newest is kept, and a note of an erasure goes with its last tombstone', async () => {
    const whose = someone();
    const added = await desk().answers.add({ whose, drafts: ['a', 'b', 'c', 'd'].map((text) => aDraft(text)) });
    const ids = added.map(({ entry }) => entry.id);
    const erase = async (...some: string[]) => (await desk().answers.erase({ whose, ids: some }))[0]?.erasure ?? '';
    const both = await erase(...ids.slice(0, 2));
    const single = await erase(...ids.slice(2, 3));
    const [row] = (await database().rows('select owner, removed_ms from tombstone where id = $1', [ids[2] ?? ''])) as [
      { owner: string },
    ];
    await database().rows(`update tombstone set removed_ms = removed_ms - $2 where id = any($1::text[])`, [
      ids.slice(0, 2),
      DAY_MS,
    ]);
    await database().rows('update erasure set asked_ms = asked_ms - $2 where id = $1', [both, DAY_MS]);
    const { tenant } = whose;
    const tombstones = new Tombstones(database(), { keptMs: 4 * DAY_MS, ofOwner: 2 });
    const left = async () => (await tombstones.page(row.owner, '', 10)).map(({ id }) => id);
    const noted = async () =>
      (await database().rows('select id from erasure where owner = $1', [row.owner])) as { id: string }[];
    const stone = { id: 'mem_zz', removedMs: Date.now(), reason: 'erased' as const, merged_into: null };
    const bury = (id: string) =>
      database().transaction((queries) =>
        tombstones.bury(queries, { id: row.owner, tenant }, [{ ...stone, id, receipt: null, erasure: null }]),
      );
    await desk().answers.logged({ tenant, erasures: [both, single] });
    await bury('mem_zy');
    expect(await left()).toEqual([ids[2], 'mem_zy']);
    expect(await noted()).toEqual([{ id: single }]);
    expect(await tombstones.among(row.owner, [{ id: ids[0] ?? '' }, { id: 'mem_zy' }])).toEqual(new Set(['mem_zy']));
    // What is there stays as it was buried first.
    await bury('mem_zy');
    await tombstones.trim(Date.now() + 3 * DAY_MS);
    expect(await left()).toEqual([ids[2], 'mem_zy']);
    await tombstones.trim(Date.now() + 5 * DAY_MS);
    expect(await left()).toEqual([]);
    expect(await noted()).toEqual([]);
    // Its id is free, as if it had never been there; the others are untouched.
    const again = desk().answers.get({ whose, id: ids[0] ?? '', action: 'get' });
    await expect(again).rejects.toMatchObject({ code: 'memory_not_found' });
    expect((await desk().answers.get({ whose, id: ids[3] ?? '', action: 'get' })).text).toBe('d');
  });

  test('a job that holds a memory is called in with it, and one that ends later is told so', async () => {
    const whose = someone();
    const { tenant } = whose;
    const [one, other] = await desk().answers.add({ whose, drafts: [aDraft('one'), aDraft('other')] });
    const [held, kept] = [one?.entry.id ?? '', other?.entry.id ?? ''];
    const { place } = await desk().answers.place({ whose, names: [] });
    const until_ms = Date.now() + 3_600_000;
    const job = (n: number) => `job_test${String(n).padStart(26, '0')}`;
    const note = (n: number, memories: string[], change = {}) =>
      desk().answers.noteHolder({ tenant, place, job: job(n), memories, until_ms, ...change });
    expect(await note(1, [held, kept])).toEqual({ gone: false });
    expect(await note(1, [held, kept])).toEqual({ gone: false });
    expect(await note(2, [kept])).toEqual({ gone: false });
    expect(await note(3, [])).toEqual({ gone: false });
    expect(await note(4, [kept], { tenant: 'other' })).toEqual({ gone: true });
    const due = () => desk().answers.dueHolders({ tenant });
    expect(await due()).toEqual([]);
    await desk().answers.erase({ whose, ids: [held] });
    expect(await due()).toEqual([job(1)]);
    expect(await desk().answers.dueHolders({ tenant: 'other' })).toEqual([]);
    await desk().answers.forgetHolders({ tenant, jobs: [job(1)] });
    expect(await due()).toEqual([]);
    expect(await note(5, [held, kept])).toEqual({ gone: true });
    await desk().answers.eraseOwner({ whose });
    expect(await due()).toEqual([job(2), job(3)]);
    expect(await note(6, [])).toEqual({ gone: true });
    // They have erased themselves by then.
    await desk().tidy(until_ms + 1);
    expect(await due()).toEqual([]);
  });
}
