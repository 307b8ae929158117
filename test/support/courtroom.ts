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
import { runToEnd, type Engine, type EngineResult, type Work } from '../../src/core/engines/engine.ts';
import { loadEngine } from '../../src/core/engines/load-engine.ts';
import { evidenceOf, storedResult, type Attempt } from '../../src/core/execution/attempt.ts';
import { generate } from '../../src/core/execution/generate.ts';
import type { PieceLink } from '../../src/core/execution/links.ts';
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

/** What a worker is asked. */
interface Asked extends Work {
  readonly input: string;
  readonly policy: Policy;
}

interface Begun extends Attempt {
  readonly signed: SignedPayload;
  readonly now: number;
}

/** One attestor's judge on a real Redis, and one enrolled worker whose cases it judges. */
export class Courtroom {
  readonly judge: Judge;
  readonly candidates: Candidates;
  readonly equipment: Equipment;
  readonly catalog: Catalog;
  readonly #server: TestRedis;
  /** The attestor's own copy of the model. */
  readonly engine: Engine;
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
    this.engine = engine;
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
    const { params } = documents(3 * this.#number).ticket.predicate;
    const asked: Asked = { task: 'completion', params, input: JSON.stringify({ prompt: 'ab' }), policy };
    const attempt = await this.#begin(asked);
    const honest = await runToEnd(this.engine, asked, JSON.parse(asked.input), AbortSignal.timeout(10_000));
    const output = lie === undefined ? honest.output : JSON.stringify({ text: lie, finish_reason: 'stop' });
    return this.#end(attempt, this.engine, { ...honest, output });
  }

  /**
   * What an honest worker with this engine hands in of a job that was admitted so, and what it streamed of
   * it. Throws EngineError where it gives the job back.
   */
  async attempt(engine: Engine, asked: Asked): Promise<{ filed: Filed; streamed: string; output: string }> {
    this.#number += 1;
    const attempt = await this.#begin(asked);
    let streamed = '';
    const pieces: PieceLink = {
      send: (_, __, text) => {
        streamed += text;
        return true;
      },
    };
    const signal = AbortSignal.timeout(60_000);
    const result = await generate(pieces, attempt, engine, JSON.parse(asked.input), signal, undefined);
    return { filed: await this.#end(attempt, engine, result), streamed, output: result.output };
  }

  async #begin({ task, params, input, policy }: Asked): Promise<Begun> {
    const { ticket } = documents(3 * this.#number);
    const now = Date.now();
    const [id, time] = [newJobId('default', now), new Date(now).toISOString()];
    const { name, sha256 } = this.engine.model;
    ticket.subject[0].digest.sha256 = sha256Hex(input);
    Object.assign(ticket.predicate, {
      job: id,
      task,
      params,
      policy,
      model: { name, sha256 },
      inputBytes: Buffer.byteLength(input),
      createdAt: time,
      deadline: time,
    });
    await this.#server.client().hset(this.#server.keys.ticket(id), 'input', input);
    const signed = signPayload(api, statementBytes(ticket));
    const claim = { id, epoch: 1, token: '', secret: '', ticket: encodeStored(signed), input };
    return { claim, ticket, signed, sha256: sha256Hex(signed.payload), now };
  }

  async #end({ claim, ticket, signed, sha256, now }: Begun, engine: Engine, result: EngineResult): Promise<Filed> {
    const blobs = new BlobFolders(this.#server.folder).ofPool(ticket.predicate.pool);
    const stored = await storedResult(blobs, ticket, result);
    const worker = { id: workerIdOf(this.worker.public), publicKey: this.worker.public.raw };
    const [at, { id }] = [new Date(now), claim];
    const answer = { result, startedAt: at, finishedAt: at };
    const evidence = signPayload(
      this.worker,
      statementBytes(evidenceOf(worker, { claim, ticket, sha256 }, engine, answer, stored)),
    );
    const file: CaseFile = {
      id,
      nowMs: now,
      ticket: claim.ticket,
      tenant: ticket.predicate.tenant,
      flow: ticket.predicate.tenant,
      told: undefined,
      cost: 1,
      band: 'standard',
      queue: 'default',
      model: ticket.predicate.model.name,
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
      statement: { kind: 'stored', text: encodeStored(evidence) },
      inlineOutput: stored.inlineOutput === '' ? undefined : stored.inlineOutput,
      leaseMs: 0,
      logged: undefined,
    };
    return { file, ticket: signed, evidence };
  }

  /** The receipt of a case that was confirmed; `changed` is a verdict in place of the one that was signed. */
  receipt({ ticket, evidence }: Filed, { verdict: signed }: Confirmation, changed?: SignedPayload): Buffer {
    const verdict = changed ?? signed;
    return Buffer.from(receiptFile(ticket, evidence, verdict, loggedAs(verdict)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.enrolled.stop();
    await this.engine.close();
  }
}
