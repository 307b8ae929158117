import { expect, test } from '@jest/globals';
import { Life, PlayedGateway } from '../../../test/support/played-gateway.ts';
import { NOOP_MODEL, until } from '../../../test/support/pipeline.ts';
import { newKey } from '../../../test/support/sample-receipts.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { NoopEngine } from '../engines/noop-engine.ts';
import { tokenOf } from '../jobs/begun.ts';
import { RemoteJobs } from '../remote/remote-jobs.ts';
import { RemotePieces } from '../remote/remote-pieces.ts';
import { decodeStored, encodeStored, signPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Claim, ClaimReply, CommitReply } from './claims.ts';
import { EnginePlaces } from './engine-places.ts';
import { JobRunner } from './job-runner.ts';
import { RunTimes } from './run-times.ts';

/** A runner whose claims are answered when the test says so. */
function runnerOf(gateway: PlayedGateway, life: Life, ticketOf = (ticket: string) => ticket) {
  const released: unknown[] = [];
  const pieces = new RemotePieces(life);
  let answer: () => void = () => undefined;
  const isAnswered = new Promise<void>((resolve) => (answer = resolve));
  class SlowJobs extends RemoteJobs {
    override async claim(): Promise<ClaimReply> {
      await isAnswered;
      const [lease] = gateway.lease(life, 1);
      if (lease === undefined) return { kind: 'useless', why: 'missing' };
      const { job, epoch, secret, ticket, input } = lease;
      const claim = {
        id: job,
        epoch,
        secret,
        token: tokenOf(secret),
        ticket: ticketOf(ticket),
        input: input ?? undefined,
      };
      return { kind: 'ok', claim, isReady: true };
    }

    override release(claim: Claim, release: SignedPayload): Promise<CommitReply> {
      released.push(JSON.parse(release.payload.toString('utf8')));
      return super.release(claim, release);
    }
  }
  const parts = {
    claims: new SlowJobs(life, pieces),
    pieces,
    blobs: { of: () => ({ put: () => Promise.reject(new Error()), get: () => Promise.reject(new Error()) }) },
    storage: { problem: undefined, start: () => undefined, wake: () => undefined, stop: () => Promise.resolve() },
    heartbeat: { leaseOf: () => '', hold: () => undefined, drop: () => undefined },
    times: new RunTimes(),
    engines: { answered: () => undefined, failed: () => undefined },
    key: newKey(),
    logger: createLogger('worker', 'fatal'),
  };
  return { runner: new JobRunner(parts), answer, released };
}

test('a job that is being claimed counts as one in flight, and is given back where its worker has left meanwhile', async () => {
  const gateway = new PlayedGateway('noop', () => 0);
  const { runner, answer } = runnerOf(gateway, gateway.life(newKey()));
  gateway.add(1);
  const run = runner.run('any', new NoopEngine(NOOP_MODEL), new EnginePlaces(1));
  expect([runner.inFlight, runner.claiming]).toEqual([1, 1]);
  runner.leave('unbegun');
  answer();
  await run;
  await until(() => runner.inFlight === 0);
  // It was released and not run: it waits for another worker.
  expect([gateway.count('waiting'), gateway.count('done')]).toEqual([1, 0]);
});

test('a ticket of a later version is given back unread, with both versions named', async () => {
  const gateway = new PlayedGateway('noop', () => 0);
  const key = newKey();
  const { runner, answer, released } = runnerOf(gateway, gateway.life(key), (stored) => {
    const payload = decodeStored(Buffer.from(stored))?.payload.toString().replace('ticket:v1', 'ticket:v2');
    return encodeStored(signPayload(key, Buffer.from(payload ?? '')));
  });
  gateway.add(1);
  answer();
  await runner.run('any', new NoopEngine(NOOP_MODEL), new EnginePlaces(1));
  expect(JSON.stringify(released)).toContain(
    'is of the type urn:countersign:ticket:v2, and this version knows urn:countersign:ticket:v1.',
  );
  expect(released).toMatchObject([
    {
      predicate: {
        epoch: 1,
        code: 'ticket_unknown',
      },
    },
  ]);
  expect([gateway.count('waiting'), gateway.count('done')]).toEqual([1, 0]);
});
