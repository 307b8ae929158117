import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { servedModels } from '../../src/core/attestation/methods/served-models.ts';
import { METHODS, servedMethods } from '../../src/core/attestation/methods/methods.ts';
import { announce } from '../../src/core/catalog/announcement.ts';
import { CatalogModel, readCatalog } from '../../src/core/catalog/catalog.ts';
import { AuditDraws } from '../../src/core/confirmation/audit-draws.ts';
import type { CaseFile } from '../../src/core/confirmation/case-file.ts';
import type { Confirmation } from '../../src/core/confirmation/confirmation.ts';
import type { Judge } from '../../src/core/confirmation/judge.ts';
import type { Ruling } from '../../src/core/confirmation/rulings.ts';
import { ENGINES, Engines } from '../../src/core/engines/engines.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { signPayload } from '../../src/proof/receipts/dsse.ts';
import { definePromise } from '../../src/proof/receipts/promises/promise.ts';
import { PROMISES } from '../../src/proof/receipts/promises/promises.ts';
import { ReceiptRefused, verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { statementsOf, type Policy, type Statements } from '../../src/proof/receipts/statements.ts';
import { AttestationOffer } from '../../src/surfaces/admission/attestation-offer.ts';
import { echo } from '../fixtures/echo.engine.ts';
import { twice } from '../fixtures/twice.method.ts';
import { twicePromise } from '../fixtures/twice.promise.ts';
import { Courtroom } from '../support/courtroom.ts';
import { NOOP_MODEL } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { attestor, keyring } from '../support/sample-receipts.ts';

/** The confirmation of a case that the claimant signed. */
async function confirmed(judge: Judge, file: CaseFile): Promise<Confirmation> {
  const judged = await judge.judgeFully(file);
  if (judged?.kind !== 'confirmed') throw new Error('the case was not confirmed');
  return judged.confirmation;
}

/** The ruling on such a case that is not confirmed. */
async function ruled(judge: Judge, file: CaseFile): Promise<Ruling> {
  const judged = await judge.judgeFully(file);
  if (judged?.kind !== 'rule') throw new Error('the case was confirmed or ignored');
  return judged.ruling;
}

const statements = statementsOf(PROMISES.with(twicePromise));
const methods = [...METHODS, twice];
const policyOf = (policy: object): Policy => statements.Policy.parse({ recompute: 0, ...policy });

function refusalOf(bytes: Uint8Array, by?: Statements): string {
  try {
    verifyReceipt(bytes, keyring, {}, by);
    return 'verified';
  } catch (error) {
    if (error instanceof ReceiptRefused) return error.reason;
    throw error;
  }
}

describe('a method and its promise from outside the product', () => {
  const open = (server: TestRedis) => Courtroom.open(server, CatalogModel.parse(NOOP_MODEL), { methods, statements });

  test('it is promised where an attestor offers it, and refused where none does', async () => {
    await using server = await TestRedis.start();
    await using room = await open(server);
    const model = CatalogModel.parse(NOOP_MODEL);
    const question = {
      model,
      policy: policyOf({ twice: 1 }),
      task: 'completion' as const,
      params: { temperature: 0, top_p: 1 },
      features: [],
    };
    const [redis, { keys }] = [server.client(), server];
    const hear = (models: ReturnType<typeof servedModels>) =>
      announce(redis, keys, {
        id: 'a-1',
        role: 'attestor',
        startedAt: '',
        models,
        state: 'consuming',
        inFlight: 0,
      });
    expect(servedMethods(room.equipment, { ...model, sha256: '0'.repeat(64) }, methods)).toEqual([]);
    await hear(servedModels(room.catalog, room.equipment));
    const refusal = new AttestationOffer(redis, keys, methods).require(question);
    await expect(refusal).rejects.toMatchObject({ code: 'attestation_unavailable' });
    await hear(servedModels(room.catalog, room.equipment, methods));
    await new AttestationOffer(redis, keys, methods).require(question);
  });

  test('what it confirms is verified by its promise, and by no verifier that does not know the promise', async () => {
    await using server = await TestRedis.start();
    await using room = await open(server);
    const filed = await room.file(policyOf({ twice: 1 }));
    expect(await room.judge.judgeQuickly(filed.file)).toEqual({ kind: 'slow' });
    const receipt = room.receipt(filed, await confirmed(room.judge, filed.file));
    const { verdict } = verifyReceipt(receipt, keyring, {}, statements);
    expect(verdict.properties).toContain('ANSWERED_TWICE');
    expect(verdict).toMatchObject({ twice: { promisedShare: 1, runs: 2 }, recompute: { drawn: false } });
    expect(refusalOf(receipt)).toBe('malformed');
  });

  test('a wrong answer is refuted in its own words, and counts against the worker', async () => {
    await using server = await TestRedis.start();
    await using room = await open(server);
    const { file } = await room.file(policyOf({ twice: 1 }), 'a lie');
    const ruling = await ruled(room.judge, file);
    expect([ruling.action, ruling.detail]).toEqual([{ kind: 'close', why: 'refuted', isLast: false }, 'TWICE_DIFFERS']);
    expect(await server.client().hlen(server.keys.suspicion)).toBe(1);
    const verdict = statements.Verdict.parse(JSON.parse(ruling.verdict?.signed.payload.toString() ?? ''));
    expect(verdict.predicate).toMatchObject({ decision: 'refuted', properties: [], twice: { runs: 2 } });
  });

  test('a receipt that breaks the promise is refused', async () => {
    await using server = await TestRedis.start();
    await using room = await open(server);
    const filed = await room.file(policyOf({ twice: 1 }));
    const confirmation = await confirmed(room.judge, filed.file);
    const text = confirmation.verdict.payload.toString();
    for (const [from, to] of [
      ['"runs":2', '"runs":1'],
      [',"ANSWERED_TWICE"', ''],
      ['"twice":{"promisedShare":1,"runs":2},', ''],
      ['"promisedShare":1,', '"promisedShare":0.5,'],
    ] as const) {
      expect(text).toContain(from);
      const changed = signPayload(attestor, Buffer.from(text.replace(from, to)));
      expect(refusalOf(room.receipt(filed, confirmation, changed), statements)).toBe('promise_not_kept');
    }
  });

  test('a share of jobs is drawn, each always alike, and the others are told apart in the receipt', async () => {
    await using server = await TestRedis.start();
    await using room = await open(server);
    const draws = new AuditDraws(attestor);
    const drawn = (id: string) => draws.isDrawn('twice', 0.5, id, 1, Date.now());
    const ids = Array.from({ length: 200 }, () => newJobId('default', Date.now()));
    expect(ids.map(drawn)).toEqual(ids.map(drawn));
    expect(ids.filter(drawn).length).toBeGreaterThan(60);
    const seen = new Set<string>();
    for (let round = 0; round < 60 && seen.size < 2; round += 1) {
      const filed = await room.file(policyOf({ twice: 0.5 }));
      const judgement = await room.judge.judgeQuickly(filed.file);
      seen.add(judgement.kind);
      const confirmation =
        judgement.kind === 'confirmed' ? judgement.confirmation : await confirmed(room.judge, filed.file);
      expect(refusalOf(room.receipt(filed, confirmation), statements)).toBe('verified');
    }
    expect(seen.size).toBe(2);
  });

  test('an attestor signs no word that no promise knows', async () => {
    await using server = await TestRedis.start();
    await using room = await Courtroom.open(server, CatalogModel.parse(NOOP_MODEL), { methods });
    const { file } = await room.file(policyOf({ twice: 1 }));
    await expect(confirmed(room.judge, file)).rejects.toThrow('twice');
  });

  test('a promise takes no field and no word that another one has', () => {
    const none = { policy: {}, evidence: {}, verdict: {}, properties: [], notChecked: [], broken: () => undefined };
    const { policy, properties } = twicePromise;
    const all = PROMISES.with(twicePromise);
    expect(() => all.with(definePromise({ ...none, name: 'other', policy }))).toThrow('policy.twice');
    expect(() => all.with(definePromise({ ...none, name: 'other', properties }))).toThrow('ANSWERED_TWICE');
    const job = definePromise({ ...none, name: 'other', verdict: { job: statements.Policy } });
    expect(() => statementsOf(PROMISES.with(job))).toThrow('job');
  });
});

describe('an engine from outside the product', () => {
  const entry = { name: 'echo', pool: 'default', tasks: ['completion'], engine: 'echo', sha256: 'e'.repeat(64) };

  test('the catalog parses it by its own fields, and refuses it where it is not in the list', () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-catalog-'));
    try {
      const path = join(folder, 'models.json');
      const write = (more: object) =>
        writeFileSync(path, JSON.stringify({ version: 1, models: [{ ...entry, ...more }] }));
      const engines = new Engines([...ENGINES, echo]);
      write({ times: 3 });
      expect(readCatalog(path, engines).get('echo')?.capabilities.repeats).toBe('exact');
      expect(() => readCatalog(path)).toThrow('models.0.engine');
      write({ times: 10 });
      expect(() => readCatalog(path, engines)).toThrow('models.0.times');
      write({ file: 'weights' });
      expect(() => readCatalog(path, engines)).toThrow('file');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a job of it is computed again: the honest answer is confirmed, and another one refuted', async () => {
    await using server = await TestRedis.start();
    const model = new Engines([...ENGINES, echo]).model.parse(entry);
    await using room = await Courtroom.open(server, model);
    const honest = await room.file({ recompute: 1 });
    const { verdict } = verifyReceipt(room.receipt(honest, await confirmed(room.judge, honest.file)), keyring);
    expect(verdict.properties).toContain('OUTPUT_RECOMPUTED_EXACT');
    const lying = await ruled(room.judge, (await room.file({ recompute: 1 }, 'ab')).file);
    expect(lying.detail).toBe('RECOMPUTED_OUTPUT_DIFFERS');
  });
});
