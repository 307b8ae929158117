import { expect, test } from '@jest/globals';
import { CRASH_POINTS } from '../../src/ground/faults/crash-point.ts';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, completion, until } from '../support/pipeline.ts';

const MINUTES = 10;
const POINTS = CRASH_POINTS.filter((point) => point.startsWith('attestor.') && point !== 'attestor.before-requeue');

test(`two attestors crash for ${MINUTES} minutes, at every step: no fork, and nothing is done that is not in the log`, async () => {
  await using pipeline = await Pipeline.start({ workers: 1, attestors: 0 });
  const client = await pipeline.client();
  const end = performance.now() + MINUTES * 60_000;
  const isOver = () => performance.now() > end;
  let crashes = 0;
  const attestors = [0, 1].map(async (which) => {
    for (let round = which; !isOver(); round += 1) {
      const point = POINTS[round % POINTS.length] ?? '';
      const wish = { COUNTERSIGN_CRASH_AT: `${point}:${1 + ((round * 7) % 40)}` };
      // It may die before it has said that it is ready.
      const attestor = await pipeline.attestor(wish).catch(() => undefined);
      // It dies at its point; one that gets no work is killed after a while.
      const patience = setTimeout(() => attestor?.process.kill('SIGKILL'), 4_000);
      await attestor?.exited;
      clearTimeout(patience);
      crashes += 1;
    }
  });
  const ids: string[] = [];
  const lanes = Array.from({ length: 8 }, async (_, lane) => {
    for (let number = 0; !isOver(); number += 1) {
      const { id } = await client.submit(completion(`${lane} ${number}`, { attempts: 10 }));
      ids.push(id);
      await client.job(id, 5).catch(() => undefined);
    }
  });
  const source = async (path: string) => {
    const response = await client.fetch(`/log/${path}`);
    return response.ok ? Buffer.from(await response.arrayBuffer()) : undefined;
  };
  const kept: string[] = [];
  const auditor = (async () => {
    while (!isOver()) {
      const next = performance.now() + 10_000;
      await until(() => Promise.resolve(performance.now() > next), 20_000);
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
  process.stderr.write(`${crashes} crashes, ${ids.length} jobs, ${report.size} entries, ${kept.length} checkpoints\n`);
  expect(crashes).toBeGreaterThan(50);
  expect(report.size).toBeGreaterThanOrEqual(ids.length);
}, 1_200_000);
