import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LeaseTable, type HeldLease } from './lease-table.ts';

const lease = (number: number): HeldLease => ({
  id: `job_${String(number).padStart(26, '0')}`,
  lease: `${number} w-${'f'.repeat(32)} ${'0'.repeat(16)}`,
});
const byId = (a: HeldLease, b: HeldLease) => (a.id < b.id ? -1 : 1);

describe('the lease table', () => {
  test('shows the reader exactly the leases that are held, after any sequence of holds and drops', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 }), (numbers) => {
        const writer = LeaseTable.withRoomFor(10);
        const reader = LeaseTable.over(writer.buffer);
        const held = new Set<number>();
        for (const number of numbers) {
          if (held.delete(number)) writer.drop(lease(number));
          else {
            held.add(number);
            writer.hold(lease(number));
          }
          expect(reader.read().toSorted(byId)).toEqual([...held].map(lease).toSorted(byId));
        }
      }),
    );
  });

  test('skips a row that is being written, and shows it afterwards', () => {
    const table = LeaseTable.withRoomFor(1);
    table.hold(lease(1));
    const versions = new Int32Array(table.buffer);
    Atomics.add(versions, 0, 1);
    expect(table.read()).toEqual([]);
    Atomics.add(versions, 0, 1);
    expect(table.read()).toEqual([lease(1)]);
  });

  test('refuses a lease more than it has room for, and has room again after a drop', () => {
    const table = LeaseTable.withRoomFor(2);
    table.hold(lease(1));
    table.hold(lease(2));
    expect(() => table.hold(lease(3))).toThrow('More than 2');
    table.drop(lease(1));
    table.hold(lease(3));
    expect(table.read().toSorted(byId)).toEqual([lease(2), lease(3)]);
  });

  test('keeps the lease of a later claim when the one of an earlier claim of that job is dropped', () => {
    const table = LeaseTable.withRoomFor(2);
    const later = { id: lease(1).id, lease: '2 w-other token' };
    table.hold(lease(1));
    table.hold(later);
    table.drop(lease(1));
    table.drop(lease(1));
    expect(table.read()).toEqual([later]);
  });

  test('has room for the longest lease there is, and refuses a longer text', () => {
    const table = LeaseTable.withRoomFor(1);
    expect(() => table.hold({ id: 'x'.repeat(200), lease: '1' })).toThrow('longer than its row');
  });
});
