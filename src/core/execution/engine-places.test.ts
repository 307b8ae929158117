import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EnginePlaces, type Place } from './engine-places.ts';

const turns = async () => {
  for (let at = 0; at < 10; at += 1) await Promise.resolve();
};

describe('the places of an engine', () => {
  test('are never held by more than there are, go to who waits in turn, and none is ever lost', async () => {
    const steps = fc.array(fc.constantFrom('take', 'try', 'leave', 'leave-twice', 'give-up'), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), steps, fc.infiniteStream(fc.nat()), async (size, all, nats) => {
        const places = new EnginePlaces(size);
        const pick = <One>(from: readonly One[]) => from[(nats.next().value ?? 0) % Math.max(1, from.length)];
        const held: Place[] = [];
        const waiting: { number: number; giveUp: AbortController }[] = [];
        const came: number[] = [];
        let number = 0;
        const wait = () => {
          const one = { number: (number += 1), giveUp: new AbortController() };
          waiting.push(one);
          const isGone = () => waiting.splice(waiting.indexOf(one), 1);
          places.take(one.giveUp.signal).then(
            (place) => {
              came.push(one.number);
              held.push(place);
              isGone();
            },
            () => isGone(),
          );
        };
        for (const step of all) {
          if (step === 'take') wait();
          if (step === 'try') {
            const place = places.tryTake();
            expect(place === undefined).toBe(held.length === size);
            if (place !== undefined) held.push(place);
          }
          if (step === 'leave' || step === 'leave-twice') {
            const place = pick(held);
            if (place !== undefined) held.splice(held.indexOf(place), 1);
            place?.leave();
            if (step === 'leave-twice') place?.leave();
          }
          if (step === 'give-up') pick(waiting)?.giveUp.abort(new Error('enough'));
          await turns();
          expect(held.length).toBeLessThanOrEqual(size);
          if (waiting.length > 0) expect(held).toHaveLength(size);
          expect(came).toEqual(came.toSorted((a, b) => a - b));
        }
      }),
    );
  });

  test('are given to nobody who has given up before', async () => {
    const places = new EnginePlaces(1);
    const reason = new Error('enough');
    await expect(places.take(AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(places.tryTake()).toBeDefined();
  });
});
