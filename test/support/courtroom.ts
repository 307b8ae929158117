import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Equipment } from '../../src/core/attestation/methods/equipment.ts';
import type { Method } from '../../src/core/attestation/methods/method.ts';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { AuditDraws } from '../../src/core/confirmation/audit-draws.ts';
import { Candidates } from '../../src/core/confirmation/candidates.ts';
import type { CaseFile } from '../../src/core/confirmation/case-file.ts';
import { EnrolledWorkers } from '../../src/core/confirmation/enrolled-workers.ts';
import { Judge } from '../../src/core/confirmation/judge.ts';
import type { Confirmation } from '../../src/core/confirmation/confirmation.ts';
import { Suspicions } from '../../src/core/confirmation/suspicions.ts';
import { runToEnd, workOf, type Engine } from '../../src/core/engines/engine.ts';
import { loadEngine } from '../../src/core/engines/load-engine.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { signWorkerList, workerEntry } from '../../src/core/registry/worker-list.ts';
import { BlobFolders } from '../../src/ground/blobs/blob-folders.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { encodeStored, signPayload, type SignedPayload } from '../../src/proof/receipts/dsse.ts';
import { receiptFile } from '../../src/proof/receipts/receipt.ts';
import { statementBytes, type Policy, type Statements } from '../../src/proof/receipts/statements.ts';
import type { TestRedis } from './redis.ts';
import { api, attestor, documents, keyring, loggedAs, newKey } from './sample-receipts.ts';

/** A case as an attestor reads it, and the documents that it was made of. */
interface Filed {
  readonly file: CaseFile;
  readonly ticket: SignedPayload;
  readonly evidence: SignedPayload;
}

/** One attestor's judge on a real Redis, and one enrolled worker whose cases it judges. */
export class Courtroom {
  readonly judge: Judge;
  readonly candidates: Candidates;
  readonly equipment: Equipment;
  readonly catalog: Catalog;
  readonly #server: TestRedis;
  readonly #engine: Engine;
  /** The key of the worker whose cases it judges. */
  readonly worker = newKey();
  readonly enrolled: EnrolledWorkers;
  #number = 0;

  private constructor(
    server: TestRedis,
    engine: Engine,
    catalog: Catalog,
    options: { methods?: readonly Method[]; statements?: Statements },
  ) {
    const redis = server.client('attestor');
    const { keys } = server;
    const logger = createLogger('test', 'fatal');
    const [registryKey, path, now] = [newKey(), join(server.folder, 'workers.json'), Date.now()];
    const at = (ms: number) => new Date(now + ms).toISOString();
    const workers = [workerEntry(this.worker.public, 'tester', at(-60_000))];
    const list = { version: 3 as const, serial: 1, issuedAt: at(-60_000), expires: at(600_000), workers };
    writeFileSync(path, signWorkerList(list, registryKey));
    this.#server = server;
    this.#engine = engine;
    this.catalog = catalog;
    this.enrolled = new EnrolledWorkers({
      path,
      signers: [registryKey.public],
      redis,
      keys,
      logger,
      record: () => Promise.resolve(),
    });
    this.equipment = new Equipment({
      engines: new Map([[engine.model.name, engine]]),
      calibrations: new Map(),
      hardware: undefined,
      auditShare: 0,
    });
    this.candidates = new Candidates(redis, keys, this.enrolled);
    this.judge = new Judge({
      candidates: this.candidates,
      redis,
      keys,
      keyring,
      catalog,
      signingKey: attestor,
      blobs: new BlobFolders(server.folder),
      enrolled: this.enrolled,
      equipment: this.equipment,
      draws: new AuditDraws(attestor),
      suspicions: new Suspicions(redis, keys, logger),
      ...options,
    });
  }

  static async open(
    server: TestRedis,
    model: CatalogModel,
    options: { methods?: readonly Method[]; statements?: Statements } = {},
  ): Promise<Courtroom> {
    const room = new Courtroom(server, await loadEngine(model), new Catalog([model]), options);
    await room.enrolled.start();
    return room;
  }

  /** A finished attempt at a job of this policy: with the engine's answer, or with another text. */
  async file(policy: Policy, lie?: string): Promise<Filed> {
    this.#number += 1;
    const { ticket, evidence } = documents(3 * this.#number);
    const { keys } = this.#server;
    const now = Date.now();
    const [id, time, input] = [newJobId('default', now), new Date(now).toISOString(), JSON.stringify({ prompt: 'ab' })];
    const { name, sha256 } = this.#engine.model;
    ticket.subject[0].digest.sha256 = sha256Hex(input);
    Object.assign(ticket.predicate, {
      job: id,
      policy,
      model: { name, sha256 },
      inputBytes: input.length,
      createdAt: time,
      deadline: time,
    });
    await this.#server.client().hset(keys.ticket(id), 'input', input);
    const ticketSigned = signPayload(api, statementBytes(ticket));
    const signal = AbortSignal.timeout(10_000);
    const honest = await runToEnd(this.#engine, workOf(ticket), JSON.parse(input), signal);
    const output = lie === undefined ? honest.output : JSON.stringify({ text: lie, finish_reason: 'stop' });
    const worker = { id: workerIdOf(this.worker.public), publicKey: this.worker.public.raw };
    evidence.subject[0].digest.sha256 = sha256Hex(output);
    Object.assign(evidence.predicate, {
      job: id,
      worker,
      ticket: { sha256: sha256Hex(ticketSigned.payload) },
      epoch: 1,
      model: { name, sha256, measured: true },
      outputBytes: Buffer.byteLength(output),
      usage: honest.usage,
      startedAt: time,
      finishedAt: time,
    });
    const signed = signPayload(this.worker, statementBytes(evidence));
    const file: CaseFile = {
      id,
      nowMs: now,
      ticket: encodeStored(ticketSigned),
      tenant: ticket.predicate.tenant,
      flow: ticket.predicate.tenant,
      told: undefined,
      cost: 1,
      queue: 'default',
      model: name,
      createdMs: now,
      deadlineMs: now + 60_000,
      maxAttempts: 3,
      keyId: 'key',
      hold: undefined,
      isReserved: false,
      surface: undefined,
      isStored: true,
      trace: undefined,
      cancelAskedMs: undefined,
      isPoolEmptied: false,
      ended: false,
      phase: 'attesting',
      currentEpoch: 1,
      epoch: 1,
      claimant: worker.id,
      attempts: [{ epoch: 1, worker: worker.id, claimedMs: now, beganMs: now, committedMs: now, closed: undefined }],
      committedMs: now,
      field: 'f',
      statement: { kind: 'stored', text: encodeStored(signed) },
      inlineOutput: output,
      leaseMs: 0,
      logged: undefined,
    };
    return { file, ticket: ticketSigned, evidence: signed };
  }

  /** The receipt of a case that was confirmed; `changed` is a verdict in place of the one that was signed. */
  receipt({ ticket, evidence }: Filed, { verdict: signed }: Confirmation, changed?: SignedPayload): Buffer {
    const verdict = changed ?? signed;
    return Buffer.from(receiptFile(ticket, evidence, verdict, loggedAs(verdict)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.enrolled.stop();
    await this.#engine.close();
  }
}
