import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { openRecord } from '../../src/core/jobs/job-record.ts';
import { publishedLog } from '../../src/core/jobs/published-log.ts';
import { logEntry } from '../../src/proof/tlog/log-entry.ts';
import { LogFiles } from '../../src/proof/tlog/log-files.ts';
import { LogReader } from '../../src/proof/tlog/log-reader.ts';
import { noteKey } from '../../src/proof/tlog/signed-note.ts';
import { formatProof } from '../../src/proof/tlog/tlog-proof.ts';
import { parsePolicy, verifyLogged } from '../../src/proof/tlog/tlog-policy.ts';
import { until } from '../support/pipeline.ts';
import { fixedPort } from '../support/ports.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { ORIGIN, logPolicy, confirmations, publish, startSequencer } from '../support/sequencer.ts';
import { startWitness } from '../support/witness.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

const end = (process: ChildProcess) =>
  new Promise<void>((resolve) => {
    process.once('exit', () => resolve());
    process.kill('SIGTERM');
  });

describe('witnesses', () => {
  test('a quorum of real witnesses signs what is done; too few, and nothing is; a fork is signed by none', async () => {
    const begun = Math.floor(Date.now() / 1_000);
    await using server = await TestRedis.start();
    const key = newKey();
    const witnesses = await Promise.all(
      [1, 2, 3].map(async (number) => {
        const port = await fixedPort();
        return { port, ...(await startWitness(server.folder, number, logPolicy(key), port)) };
      }),
    );
    const text = logPolicy(key, ...witnesses.map(({ line }) => line), 'group most 2 w1 w2 w3', 'quorum most');
    const policy = parsePolicy(text);
    try {
      const said: string[] = [];
      const hearing = pino({ level: 'warn' }, { write: (line) => said.push(line) });
      const refusal = (entries: number) =>
        until(() => said.find((line) => line.includes(`Too few witnesses have signed ${entries} entries`)));
      const sequencer = startSequencer(server, server.client('attestor'), key, text, hearing);
      const all = await confirmations(server, newKey(), 60);
      expect(await publish(server, sequencer, all.slice(0, 20))).toBe(20);

      // One of three is gone: two are enough. Two are gone: what comes waits, and is not done.
      await end((witnesses[2] ?? { process: spawn('true') }).process);
      expect(await publish(server, sequencer, all.slice(20, 40))).toBe(40);
      const [, second] = witnesses;
      if (second === undefined) throw new Error('no witness');
      await end(second.process);
      const waiting = publish(server, sequencer, all.slice(40));
      expect(await refusal(60)).toMatch(
        /\((w2: it does not answer; w3|w3: it does not answer; w2): it does not answer\)/,
      );
      expect(await server.client().hget(server.keys.log, 'size')).toBe('40');
      // An attestor says so, and readiness with it.
      await until(() => sequencer.problem === 'log_unpublished');
      // It comes back and remembers what it has signed.
      witnesses[1] = { ...second, ...(await startWitness(server.folder, 2, logPolicy(key), second.port)) };
      expect(await waiting).toBe(60);
      await until(() => sequencer.problem === undefined);
      await sequencer.stop();

      const checkpoint = (await server.client().hget(server.keys.log, 'checkpoint')) ?? '';
      const reader = new LogReader(
        new LogFiles(new FolderTree(join(server.folder, 'log'))),
        [noteKey(ORIGIN, 'ed25519', key.public)],
        publishedLog(server.client('api'), server.keys),
      );
      const [first] = all;
      if (first === undefined) throw new Error('no verdict');
      const stored = (await server.client().getBuffer(server.keys.record(first.file.id))) ?? Buffer.alloc(0);
      const { index = -1, salt = Buffer.alloc(0) } = openRecord(stored);
      const proof = formatProof({ index, hashes: await reader.inclusion(index, 60), checkpoint });
      const entry = logEntry('verdict', first.verdict.keyId, first.verdict.payload, salt);
      const verified = verifyLogged(policy, proof, entry);
      expect(verified.witnesses).toEqual(['w1', 'w2']);
      expect(verified.seenAtSeconds).toBeGreaterThanOrEqual(begun);
      expect(verified.seenAtSeconds).toBeLessThanOrEqual(Date.now() / 1_000);

      // Another tree under the same key and name: the witnesses have seen 60 entries of the first.
      await using forked = await TestRedis.start();
      const forker = startSequencer(forked, forked.client('attestor'), key, text, hearing);
      const other = await confirmations(forked, newKey(), 90);
      void forker.place(other);
      const why = await refusal(90);
      for (const name of ['w1', 'w2']) expect(why).toContain(`${name}: it answers 422: the consistency proof`);
      expect(await forked.client().hget(forked.keys.log, 'size')).toBeNull();
      await forker.stop();
    } finally {
      for (const { process } of witnesses) process.kill('SIGKILL');
    }
  });
});
