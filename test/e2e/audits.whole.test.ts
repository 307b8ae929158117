import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { AuditDraws } from '../../src/core/confirmation/audit-draws.ts';
import { Suspicions } from '../../src/core/confirmation/suspicions.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { QUARANTINE_AT, suspicionAfter } from '../../src/core/attestation/suspicion.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { logEntry } from '../../src/proof/tlog/log-entry.ts';
import { parseBundle } from '../../src/proof/tlog/tile.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, completion, until } from '../support/pipeline.ts';
import { PASSWORD, ROOT, TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';

describe('audits', () => {
  test('a worker that cheats is flagged, one flag is not enough, and then it is put aside; honest ones are not', async () => {
    await using pipeline = await Pipeline.start({ workers: 0, env: { 'attestor:COUNTERSIGN_AUDIT_SHARE': '1' } });
    const client = await pipeline.client('operator');
    const { keys } = pipeline.redis;
    const cheat = pipeline.hand(1);
    const quarantined = () => pipeline.redis.admin.smembers(keys.quarantined);
    let flags = 0;
    for (; (await quarantined()).length === 0; flags += 1) {
      // Nothing was promised: the audit is the attestor's own, and looks like any other attestation.
      const job = await client.submit(completion(`cheated ${flags}`, { attempts: 1, attestation: { recompute: 0 } }));
      const claim = await cheat.claim(job.id);
      const output = JSON.stringify({ text: 'made up', finish_reason: 'stop' });
      await cheat.claims.commitEvidence(claim, cheat.sign(cheat.evidence(claim, output)), output);
      const ended = await client.ended(job.id);
      expect({ state: ended.state, detail: ended.reason?.detail }).toMatchObject({ state: 'rejected' });
      expect(ended.reason?.detail).toContain('RECOMPUTED_OUTPUT_DIFFERS');
    }
    expect(flags).toBeGreaterThan(2);
    expect(flags).toBeLessThan(10);
    const next = await client.submit(completion('after', { attestation: { recompute: 0 } }));
    expect(await cheat.tryClaim(next.id)).toMatchObject({ kind: 'later', why: 'barred' });

    // An honest worker does it, is audited, and its receipt says that it was computed again although nobody
    // asked.
    await pipeline.worker(2);
    expect((await client.ended(next.id)).state).toBe('done');
    const { verdict } = verifyReceipt(await client.receipt(next.id), pipeline.keyring);
    expect(verdict.recompute).toEqual({ promisedShare: 0, drawn: true });
    expect(await quarantined()).toEqual([cheat.id]);
    const workers = (await (await client.fetch('/v1/workers')).json()) as { quarantined: string[] };
    expect(workers.quarantined).toEqual([cheat.id]);
  });

  test('canaries: answers that are known beforehand find a worker that lies where nothing was promised', async () => {
    await using pipeline = await Pipeline.start({ workers: 0 });
    const client = await pipeline.client();
    mkdirSync(join(pipeline.folder, 'keys'));
    writeSecretFile(join(pipeline.folder, 'keys', 'redis-attestor.password'), PASSWORD);
    writeSecretFile(join(pipeline.folder, 'dev.key'), client.key);
    const canary = () => {
      const args = ['--data', pipeline.folder, 'canary', 'noop', '--count', '3', '--url', pipeline.url, '--json'];
      const child = spawn(
        process.execPath,
        [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), ...args, '--redis-url', pipeline.redis.url],
        { env: { PATH: process.env['PATH'], HOME: pipeline.folder }, stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let said = '';
      child.stdout.on('data', (piece: Buffer) => {
        said += piece.toString();
      });
      return new Promise<{ code: number | null; wrong: number }>((resolve) => {
        child.once('close', (code) =>
          resolve({ code, wrong: (JSON.parse(said.split('\n')[0] ?? '') as { wrong: number }).wrong }),
        );
      });
    };
    const liar = pipeline.hand(1);
    const over = new AbortController();
    const lying = (async () => {
      while (!over.signal.aborted) {
        const queued = (await (await client.fetch('/v1/jobs?state=queued')).json()) as { jobs: { id: string }[] };
        for (const { id } of queued.jobs) {
          const reply = await liar.tryClaim(id);
          if (reply.kind !== 'ok') continue;
          const output = JSON.stringify({ text: 'it looks like an answer', finish_reason: 'stop' });
          await liar.claims.commitEvidence(reply.claim, liar.sign(liar.evidence(reply.claim, output)), output);
        }
      }
    })();
    expect(await canary()).toEqual({ code: 7, wrong: 3 });
    over.abort();
    await lying;
    const scores = await pipeline.redis.client().hgetall(pipeline.redis.keys.suspicion);
    expect(Number(scores[`${liar.id} noop`])).toBeGreaterThan(6);
    await pipeline.worker(2);
    expect(await canary()).toEqual({ code: 0, wrong: 0 });
  });

  test('a finding counts once, however often it is recorded', async () => {
    await using server = await TestRedis.start();
    const [admin, { keys }] = [server.client(), server];
    const suspicions = new Suspicions(server.client('attestor'), keys, createLogger('test', 'fatal'));
    const job = newJobId('default', Date.now());
    const finding = { job, epoch: 1, worker: 'w-1', model: 'noop', isFlagged: true };
    const score = () => admin.hget(keys.suspicion, 'w-1 noop');
    await suspicions.record(finding);
    const once = await score();
    expect(Number(once)).toBeGreaterThan(0);
    await suspicions.record(finding);
    expect(await score()).toBe(once);
    await suspicions.record({ ...finding, epoch: 2 });
    expect(Number(await score())).toBe(2 * Number(once));
    // What says so does not stay for ever.
    expect(await admin.pttl(keys.audited(job, 1))).toBeGreaterThan(0);
  });

  test('the draw of a day is committed in the log before it, and told afterwards: anyone can draw again', async () => {
    await using pipeline = await Pipeline.start({ workers: 0 });
    const day = new Date().toISOString().slice(0, 10);
    const secretOf = (which: string) =>
      createHmac('sha256', pipeline.logKey.derive('countersign/draw-secret/v3')).update(which).digest();
    const { documents, draws } = (await (await fetch(`${pipeline.url}/log/documents`)).json()) as {
      documents: { kind: string; sha256: string; keyid: string; index: number; salt: string }[];
      draws: Record<string, string>;
    };
    const payload = Buffer.from(JSON.stringify({ day, secretSha256: sha256Hex(secretOf(day)) }));
    const found = documents.find(({ kind, sha256 }) => kind === 'draw' && sha256 === sha256Hex(payload));
    if (found === undefined) throw new Error('today is not committed');
    const size = await until(async () => {
      const text = await (await fetch(`${pipeline.url}/log/checkpoint`)).text();
      const entries = Number(/\n(\d+)\n/.exec(text)?.[1]);
      return entries > found.index && entries;
    });
    const bundle = Buffer.from(await (await fetch(`${pipeline.url}/log/tile/entries/000.p/${size}`)).arrayBuffer());
    const entry = logEntry('draw', found.keyid, payload, Buffer.from(found.salt, 'base64'));
    expect(parseBundle(bundle)?.[found.index]).toEqual(entry);
    // Neither today nor yesterday is told, and what is told is what was drawn by.
    const told = Object.keys(draws).toSorted();
    expect(told.at(-1)).toBe(new Date(Date.now() - 3 * 86_400_000).toISOString().slice(0, 10));
    for (const [old, secret] of Object.entries(draws)) expect(secret).toBe(secretOf(old).toString('hex'));
  });

  test('draws take the share that they should, alike for all attestors of one log, and differently each day', () => {
    const key = newKey();
    const [one, other] = [new AuditDraws(key), new AuditDraws(key)];
    const ms = Date.parse('2026-11-21T12:00:00Z');
    const drawn = Array.from({ length: 10_000 }, (_, at) => one.isDrawn('audit', 0.1, `job_${at}`, 1, ms));
    expect(drawn.filter(Boolean).length / 10_000).toBeCloseTo(0.1, 1);
    expect(drawn).toEqual(drawn.map((_, at) => other.isDrawn('audit', 0.1, `job_${at}`, 1, ms)));
    expect(drawn).not.toEqual(drawn.map((_, at) => one.isDrawn('audit', 0.1, `job_${at}`, 1, ms + 86_400_000)));
  });

  test('a score never falls below zero: a thousand good answers buy no bad one', () => {
    let score = 0;
    for (let check = 0; check < 1_000; check += 1) score = suspicionAfter(score, false);
    expect(score).toBe(0);
    let flags = 0;
    for (; score < QUARANTINE_AT; flags += 1) score = suspicionAfter(score, true);
    expect(flags).toBe(6);
  });
});
