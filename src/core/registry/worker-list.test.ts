import { describe, expect, test } from '@jest/globals';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { openWorkerList, refusalAt, signWorkerList, workerEntry, type WorkerList } from './worker-list.ts';

const [registry, worker, other] = [1, 2, 3].map((byte) => new SigningKey(Buffer.alloc(32, byte)));
if (registry === undefined || worker === undefined || other === undefined) throw new Error('three keys were made');

const MAY = '2026-05-01T00:00:00.000Z';
const JUNE = '2026-06-01T00:00:00.000Z';
const ms = (time: string) => Date.parse(time);
const entry = workerEntry(worker.public, 'acme', MAY);
const list: WorkerList = { version: 3, serial: 1, issuedAt: MAY, expires: JUNE, workers: [entry] };

describe('a signature of an enrolled worker', () => {
  test('counts while the worker is active', () => {
    expect(refusalAt(entry, ms(JUNE))).toBeUndefined();
  });

  test('counts from its enrolment on, with a minute for clocks that differ', () => {
    expect(refusalAt(entry, ms(MAY) - 60_000)).toBeUndefined();
    expect(refusalAt(entry, ms(MAY) - 60_001)).toBe('WORKER_KEY_EXPIRED');
  });

  test('counts before a suspension and not from then on', () => {
    const suspended = { ...entry, standing: { state: 'suspended' as const, from: JUNE, why: '' } };
    expect([refusalAt(suspended, ms(JUNE) - 1), refusalAt(suspended, ms(JUNE))]).toEqual([
      undefined,
      'WORKER_SUSPENDED',
    ]);
  });

  test('counts before a revocation, but not once its key was compromised', () => {
    const revoked = (compromisedSince: string | null) => ({
      ...entry,
      standing: { state: 'revoked' as const, from: JUNE, compromisedSince, why: '' },
    });
    const before = ms(JUNE) - 1;
    expect(refusalAt(revoked(null), before)).toBeUndefined();
    expect(refusalAt(revoked(null), ms(JUNE))).toBe('WORKER_REVOKED');
    expect(refusalAt(revoked('2026-05-15T00:00:00.000Z'), before)).toBe('WORKER_REVOKED');
    expect(refusalAt(revoked('2027-01-01T00:00:00.000Z'), ms(JUNE))).toBe('WORKER_REVOKED');
  });

  test('counts up to the end of a key that has a successor', () => {
    const rotated = { ...entry, notAfter: JUNE };
    expect([refusalAt(rotated, ms(JUNE)), refusalAt(rotated, ms(JUNE) + 1)]).toEqual([undefined, 'WORKER_KEY_EXPIRED']);
  });
});

describe('the list of workers', () => {
  test('opens under the key that signed it, and under no other', () => {
    const text = signWorkerList(list, registry);
    expect(openWorkerList(text, [other.public, registry.public]).list).toEqual(list);
    expect(() => openWorkerList(text, [other.public])).toThrow('no key of the role registry');
  });

  test.each([
    ['a worker twice', { ...list, workers: [entry, entry] }, 'names a worker twice'],
    [
      'the id of another key',
      { ...list, workers: [{ ...entry, publicKey: other.public.raw }] },
      'not the id of its key',
    ],
    ['the serial 0', { ...list, serial: 0 }, 'refused'],
  ])('is refused with %s, although the registry signed it', (_, unsound, why) => {
    expect(() => openWorkerList(signWorkerList(unsound, registry), [registry.public])).toThrow(why);
  });

  test('is refused where one byte was changed after it was signed', () => {
    const text = signWorkerList(list, registry);
    const changed = text.replace(/"payload":"(.)/, (_, first: string) => `"payload":"${first === 'e' ? 'f' : 'e'}`);
    expect(() => openWorkerList(changed, [registry.public])).toThrow('does not verify');
  });
});
