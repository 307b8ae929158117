import { expect, test } from '@jest/globals';
import { CRASH_POINTS } from '../../src/ground/faults/crash-point.ts';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, completion, until } from '../support/pipeline.ts';

const ROUNDS = 50;
/** Whoever has not come to its point while so many jobs ended is killed elsewhere. */
const PATIENCE_JOBS = 100;
const POINTS = CRASH_POINTS.filter((point) => point.startsWith('attestor.') && point !== 'attestor.before-requeue');

test(`two attestors crash ${ROUNDS} times each, at every step: no fork, and nothing is done that is not in the log`, async () => {
  await using pipeline = await Pipeline.start({ workers: 1, attestors: 0 });
  const client = await pipeline.client();
  let [attestorsLeft, crashes, ended] = [2, 0, 0];
  const isOver = () => attestorsLeft === 0;
  const attestors = [0, 1].map(async (which) => {
    for (let round = which; round < which + ROUNDS; round += 1) {
      const point = POINTS[round % POINTS.length] ?? '';
      const wish = { COUNTERSIGN_CRASH_AT: `${point}:${1 + ((round * 7) % 20)}` };
      // It may die before it has said that it is ready.
      const attestor = await pipeline.attestor(wish).catch(() => undefined);
      const enough = ended + PATIENCE_JOBS;
      const isDead = () => attestor?.process.signalCode !== null;
      await until(() => isDead() || ended >= enough);
      if (isDead()) crashes += 1;
      attestor?.process.kill('SIGKILL');
      await attestor?.exited;
    }
    attestorsLeft -= 1;
  });
  const ids: string[] = [];
  const lanes = Array.from({ length: 8 }, async (_, lane) => {
    for (let number = 0; !isOver(); number += 1) {
      const { id } = await client.submit(completion(`${lane} ${number}`, { attempts: 10 }));
      ids.push(id);
      if ((await client.job(id, 5).catch(() => undefined))?.state === 'done') ended += 1;
    }
  });
  const source = async (path: string) => {
    const response = await client.fetch(`/log/${path}`);
    return response.ok ? Buffer.from(await response.arrayBuffer()) : undefined;
  };
  const kept: string[] = [];
  const auditor = (async () => {
    while (!isOver()) {
      const next = ended + PATIENCE_JOBS;
      await until(() => isOver() || ended >= next);
      const checkpoint = (await source('checkpoint'))?.toString();
      if (checkpoint !== undefined) kept.push(checkpoint);
    }
  })();
  await Promise.all([...attestors, ...lanes, auditor]);
  await pipeline.attestor();
  for (const id of ids) {
    const job = await until(async () => {
      const view = await client.job(id, 30).catch(() => undefined);
      return view !== undefined && view.ended_at !== null && view;
    }, 120_000);
    expect([id, job.state]).toEqual([id, 'done']);
    // The receipt's proof leads to a checkpoint: done means included.
    verifyReceipt(await client.receipt(id), pipeline.keyring);
  }
  // One log goes on from every checkpoint that was ever seen: there was no fork.
  const report = await auditLog(source, pipeline.keyring.logPolicy, kept);
  expect(report.continues).toHaveLength(kept.length);
  process.stderr.write(
    `${crashes} crashes at a point, ${ids.length} jobs, ${report.size} entries, ${kept.length} checkpoints\n`,
  );
  // Of all rounds; the others ended elsewhere.
  expect(crashes).toBeGreaterThan(ROUNDS / 2);
  expect(report.size).toBeGreaterThanOrEqual(ids.length);
}, 3_600_000);
