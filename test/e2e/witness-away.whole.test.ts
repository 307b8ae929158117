import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Keyring, type KeyringFile } from '../../src/proof/receipts/keyring.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import type { Why } from '../../src/proof/contract/why.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Pipeline, completion, until } from '../support/pipeline.ts';
import { fixedPort } from '../support/ports.ts';
import { Receiver } from '../support/receiver.ts';
import { startWitness } from '../support/witness.ts';

/** The fewest jobs that may be kept. */
const KEEP_JOBS = 100;
const byHand = (more: object) => ({ ...completion('by hand', more), model: BY_HAND_MODEL.name });

test('while a witness stands still nothing is confirmed, and everything else goes on; then all is confirmed', async () => {
  await using pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
  await using receiver = await Receiver.start();
  const admin = pipeline.redis.client();
  const { keys } = pipeline.redis;
  const path = join(pipeline.folder, 'keyring.json');
  const file = JSON.parse(readFileSync(path, 'utf8')) as KeyringFile;
  const [log = ''] = file.logPolicy.split('\n');
  const witness = await startWitness(pipeline.folder, 1, `${log}\nquorum none\n`, await fixedPort());
  const watched = { ...file, logPolicy: `${log}\n${witness.line}\nquorum w1\n` };
  pipeline.file('keyring.json', watched);
  try {
    const hooks = { COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' };
    await Promise.all([
      pipeline.api(hooks),
      pipeline.courier(hooks),
      pipeline.worker(1),
      pipeline.attestor({ COUNTERSIGN_KEEP_JOBS: String(KEEP_JOBS) }),
    ]);
    const client = await pipeline.client();
    await Promise.all(Array.from({ length: KEEP_JOBS }, (_, at) => client.run(completion(`before ${at}`))));
    witness.process.kill('SIGSTOP');

    const waiting = await client.submit(completion('wants a witness'));
    await until(async () => {
      const why = await client.json<Why>(`/v1/jobs/${waiting.id}/why`);
      return why.held_by === 'publishing';
    });
    // A deadline is kept and told, and so that Redis keeps no more jobs than it should.
    const late = await client.submit(byHand({ deadline_ms: 1_000, webhook: { url: receiver.url } }));
    await until(() => receiver.of(late.id).length > 0);
    expect(receiver.of(late.id)).toMatchObject([{ data: { state: 'expired' } }]);
    await until(async () => (await admin.zcard(keys.endedOf('acme'))) === KEEP_JOBS);
    // A worker is lost, and another has its job.
    const held = await client.submit(byHand({ deadline_ms: 600_000 }));
    const lost = pipeline.hand(1, 1_000, 'hands');
    await until(async () => (await lost.tryClaim(held.id)).kind === 'ok');
    const next = pipeline.hand(2, 60_000, 'hands');
    await until(async () => (await next.tryClaim(held.id)).kind === 'ok');
    // Whoever asks whether all is well is told what is not.
    const ready = await until(async () => {
      const answer = await fetch(`${pipeline.url}/health/ready`);
      return answer.status === 503 && (await answer.text());
    });
    expect(ready).toContain('log_unpublished');
    expect(await client.json(`/v1/jobs/${waiting.id}`)).toMatchObject({ state: 'attesting', ended_at: null });

    witness.process.kill('SIGCONT');
    expect(await client.ended(waiting.id)).toMatchObject({ state: 'done' });
    const receipt = await client.receipt(waiting.id);
    expect(verifyReceipt(receipt, new Keyring(watched)).logged.witnesses).toEqual(['w1']);
  } finally {
    witness.process.kill('SIGKILL');
  }
});
