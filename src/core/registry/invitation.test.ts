import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SigningKey, workerIdOf } from '../../ground/keys/signing-key.ts';
import type { JoinAsk } from '../catalog/announcement.ts';
import { admit, askToJoin, newInvitation, readJoinToken, usesOf, type Invitation } from './invitation.ts';
import { openWorkerList, signWorkerList, type WorkerEntry } from './worker-list.ts';

const NOW = new Date('2026-06-01T12:00:00.000Z');
const about = {
  pool: 'default',
  operator: 'acme',
  uses: 3,
  issuedAt: '2026-06-01T00:00:00.000Z',
  expires: '2026-06-02T00:00:00.000Z',
};
const { invitation, token } = newInvitation(about);
const keyOf = (byte: number) => new SigningKey(Buffer.alloc(32, byte));
const worker = keyOf(1).public;
const askOf = (key = worker, by = token) => askToJoin(readJoinToken(by), workerIdOf(key));

function letIn(change: {
  ask?: JoinAsk;
  key?: typeof worker;
  pool?: string;
  invitation?: Invitation | undefined;
  entries?: WorkerEntry[];
  now?: Date;
}) {
  const { ask = askOf(), key = worker, pool = 'default', entries = [], now = NOW } = change;
  const known = 'invitation' in change ? change.invitation : invitation;
  return admit({ ask, worker: key, pool }, known, entries, now);
}

describe('a worker with the token of an invitation', () => {
  test('gets an entry of the pool and operator of the invitation, and the list with it is sound', () => {
    const entry = letIn({});
    expect(entry).toMatchObject({ id: workerIdOf(worker), pools: ['default'], operator: 'acme' });
    const registry = keyOf(9);
    const list = { version: 3 as const, serial: 1, issuedAt: about.issuedAt, expires: about.expires, workers: [entry] };
    expect(openWorkerList(signWorkerList(list, registry), [registry.public]).list).toEqual(list);
  });

  test.each([
    [
      'another invitation signed it',
      { ask: { ...askOf(worker, newInvitation(about).token), invitation: invitation.id } },
      'not signed',
    ],
    ['the ask is that of another worker', { key: keyOf(2).public }, 'not signed'],
    ['it was withdrawn', { invitation: undefined }, 'withdrawn'],
    ['it asks in another pool', { pool: 'gold' }, 'for the pool default'],
    ['it ended', { now: new Date(about.expires) }, 'ended on'],
  ])('is refused where %s', (_, change, why) => {
    expect(() => letIn(change)).toThrow(why);
  });

  test('is refused once it is on the list, also when it is revoked there', () => {
    const entry = letIn({});
    const revoked = {
      ...entry,
      standing: { state: 'revoked' as const, from: about.issuedAt, compromisedSince: null, why: '' },
    };
    expect(() => letIn({ entries: [entry] })).toThrow('already on the list');
    expect(() => letIn({ entries: [revoked] })).toThrow('already on the list');
  });

  test('however many ask, again and again, in any order: no more are let in than it has uses', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 40 }), (bytes) => {
        const entries: WorkerEntry[] = [];
        for (const byte of bytes) {
          const key = keyOf(byte).public;
          try {
            entries.push(letIn({ key, ask: askOf(key), entries }));
          } catch {
            expect(entries.length >= about.uses || entries.some(({ id }) => id === workerIdOf(key))).toBe(true);
          }
        }
        expect(entries.length).toBe(Math.min(about.uses, new Set(bytes).size));
        expect(usesOf(invitation.id, entries)).toBe(entries.length);
      }),
      { numRuns: 30 },
    );
  });

  test.each(['', 'csj_', token.slice(0, -1), `${token}=`, token.replace('csj', 'csk')])('%# is no token', (text) => {
    expect(() => readJoinToken(text)).toThrow('does not have the form');
  });
});
