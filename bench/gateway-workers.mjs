// Played workers of one gateway, all in this process: each announces itself, asks for leases, and hands in
// what an honest worker would at once. Says of each lease which job it is and when it came.
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { dist } from './arena.mjs';

const [url, folder, from, to, mode] = process.argv.slice(2);
const { GatewayClient } = await dist('core/remote/gateway-client.js');
const { Committed, Leases, ROUTES, Standing } = await dist('core/remote/wire.js');
const { ANNOUNCE_EVERY_MS, signedAnnouncement } = await dist('core/catalog/announcement.js');
const { sha256Hex } = await dist('ground/blobs/sha256.js');
const { ensureSigningKey } = await dist('ground/keys/key-file.js');
const { workerIdOf } = await dist('ground/keys/signing-key.js');
const { createLogger } = await dist('ground/logging/logger.js');
const { decodeStored, encodeStored, signPayload } = await dist('proof/receipts/dsse.js');
const { EVIDENCE_TYPE, STATEMENT_TYPE, Ticket, statementBytes } = await dist('proof/receipts/statements.js');

/** The longest that a request for leases waits, or how often one that does not wait is made. */
const WAIT_MS = 60_000;
const POLL_MS = 1_000;

class PlayedWorker {
  #key;
  #id;
  #client;

  constructor(number) {
    this.#key = ensureSigningKey(`${folder}/worker${number === 0 ? '' : `-${number}`}.key`);
    this.#id = workerIdOf(this.#key.public);
    this.#client = new GatewayClient(url, this.#key, createLogger('worker', 'error'));
  }

  async announce() {
    const announcement = {
      id: this.#id,
      role: 'worker',
      pool: 'default',
      publicKey: this.#key.public.raw,
      startedAt: new Date().toISOString(),
      at: new Date().toISOString(),
      models: [{ name: 'noop', sha256: sha256Hex(''), engine: 'noop', engineVersion: '1', engineSha256: '', slots: 1 }],
      state: 'consuming',
      inFlight: 0,
    };
    const json = { announcement: signedAnnouncement(announcement, this.#key) };
    await this.#client.ask(Standing, { method: 'PUT', target: ROUTES.announcement, json, patienceMs: 60_000 });
  }

  async work() {
    for (;;) {
      const json = { models: [{ name: 'noop', slots: 1 }], wait_ms: mode === 'push' ? WAIT_MS : 0 };
      const request = { method: 'POST', target: ROUTES.leases, json, patienceMs: 60_000 };
      const { leases } = await this.#client.ask(Leases, request);
      for (const lease of leases) {
        process.stdout.write(`lease ${lease.job} ${performance.timeOrigin + performance.now()}\n`);
        await this.#answer(lease);
      }
      if (mode === 'poll') await sleep(POLL_MS * (0.5 + Math.random()));
    }
  }

  async #answer({ job, epoch, secret, ticket: stored, input }) {
    const signed = decodeStored(Buffer.from(stored));
    const ticket = Ticket.parse(JSON.parse(signed.payload.toString()));
    const text = sha256Hex(JSON.stringify([ticket.predicate.params.seed, JSON.parse(input)]));
    const output = JSON.stringify({ text, finish_reason: 'stop' });
    const now = new Date().toISOString();
    const evidence = {
      _type: STATEMENT_TYPE,
      subject: [{ name: 'output', digest: { sha256: sha256Hex(output) } }],
      predicateType: EVIDENCE_TYPE,
      predicate: {
        job,
        ticket: { sha256: sha256Hex(signed.payload) },
        epoch,
        worker: { id: this.#id, publicKey: this.#key.public.raw },
        model: { ...ticket.predicate.model, measured: true },
        engine: { name: 'noop', version: '1', sha256: sha256Hex('noop') },
        outputBytes: Buffer.byteLength(output),
        usage: { inputTokens: 1, outputTokens: 1 },
        finishReason: 'stop',
        startedAt: now,
        finishedAt: now,
      },
    };
    const statement = encodeStored(signPayload(this.#key, statementBytes(evidence)));
    const say = (json) =>
      this.#client.ask(Committed, { method: 'POST', target: ROUTES.lease(job), json: { epoch, secret, ...json } });
    await say({ kind: 'begin' });
    await say({ kind: 'evidence', statement, output, tokens: '' });
  }
}

const workers = Array.from({ length: Number(to) - Number(from) }, (_, at) => new PlayedWorker(Number(from) + at));
// As they would come: not all in one moment.
for (let at = 0; at < workers.length; at += 50)
  await Promise.all(workers.slice(at, at + 50).map((worker) => worker.announce()));
for (const [at, worker] of workers.entries()) {
  setTimeout(
    () => setInterval(() => void worker.announce(), ANNOUNCE_EVERY_MS),
    (ANNOUNCE_EVERY_MS * at) / workers.length,
  );
  void worker.work();
}
process.stdout.write('{"ready":true}\n');
