import { describe, expect, test } from '@jest/globals';
import { SigningKey, workerIdOf, type PublicKey } from '../../ground/keys/signing-key.ts';
import { newChallenge, openEnrolment, requestEnrolment } from './enrolment.ts';

const key = new SigningKey(Buffer.alloc(32, 1));
const predecessor = new SigningKey(Buffer.alloc(32, 2));
const stranger = new SigningKey(Buffer.alloc(32, 3));
const about = { challenge: newChallenge(), operator: 'acme', labels: { region: 'eu' }, gpu: null, evidence: null };
const noPredecessor = () => undefined;
const enrolled = (worker: string): PublicKey | undefined =>
  worker === workerIdOf(predecessor.public) ? predecessor.public : undefined;

describe('an enrolment', () => {
  test('opens to the facts that the key signed', () => {
    const { facts, key: found } = openEnrolment(requestEnrolment(key, about), noPredecessor);
    expect(facts).toMatchObject({ ...about, worker: workerIdOf(key.public), predecessor: null });
    expect(found.id).toBe(key.public.id);
  });

  test('is refused where a fact was changed after it was signed', () => {
    const request = requestEnrolment(key, about);
    const facts = request.facts.replace('"acme"', '"evil"');
    expect(() => openEnrolment({ ...request, facts }, noPredecessor)).toThrow('not signed by the key');
  });

  test('is refused under the id of another key', () => {
    const request = requestEnrolment(key, about);
    const facts = request.facts.replace(workerIdOf(key.public), workerIdOf(stranger.public));
    expect(() => openEnrolment({ ...request, facts }, noPredecessor)).toThrow('is not the id of the key');
  });

  test('takes over from a predecessor only with the signature of its key', () => {
    const rotation = requestEnrolment(key, about, predecessor);
    expect(openEnrolment(rotation, enrolled).facts.predecessor).toBe(workerIdOf(predecessor.public));
    expect(() => openEnrolment({ ...rotation, predecessorSignature: rotation.signature }, enrolled)).toThrow(
      'The rotation is not signed',
    );
    expect(() => openEnrolment({ ...rotation, predecessorSignature: null }, enrolled)).toThrow();
    expect(() => openEnrolment(requestEnrolment(key, about, stranger), enrolled)).toThrow('There is no worker');
  });
});
