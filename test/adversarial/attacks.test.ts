import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyNitroDocument } from '../../src/core/attestation/tee/nitro.ts';
import { verifyIntelQuote } from '../../src/core/attestation/tee/tdx.ts';
import type { TeeSubject } from '../../src/core/attestation/tee/tee-evidence.ts';
import { verifyTeeEvidence } from '../../src/core/attestation/tee/verify-tee-evidence.ts';
import { TeePolicy } from '../../src/core/attestation/tee/tee-policy.ts';
import { workerBinding } from '../../src/core/attestation/tee/worker-binding.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { encodeTokens } from '../../src/core/engines/token-ids.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import { parseNote } from '../../src/proof/tlog/signed-note.ts';
import { parseBundle } from '../../src/proof/tlog/tile.ts';
import { EnrolmentRequest, openEnrolment, requestEnrolment } from '../../src/core/registry/enrolment.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import type { Evidence, Verdict } from '../../src/proof/receipts/statements.ts';
import { Chip } from '../support/chip.ts';
import type { HandWorker } from '../support/hand-worker.ts';
import { KJV_MODEL, NOOP_MODEL, Pipeline, completion, until, type Client } from '../support/pipeline.ts';
import { Q4, Q8, answer, load, work } from '../support/replays.ts';
import { documents, newKey, refusal, signed } from '../support/sample-receipts.ts';
import { wholeTest } from '../support/thorough.ts';
import { VECTORS, describeVectors } from '../support/vectors.ts';

/** The attacks that the product must withstand, each tried from outside: by whom, and holding what. */

const ONE = { attempts: 1 };
const RECOMPUTED = { ...ONE, attestation: { recompute: 1 } };

let pipeline: Pipeline;
let client: Client;
let hostile: HandWorker;
beforeAll(async () => {
  pipeline = await Pipeline.start({ models: [NOOP_MODEL, KJV_MODEL], workers: 0 });
  client = await pipeline.client();
  hostile = pipeline.hand(1);
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
});

async function rejected(id: string): Promise<string> {
  const job = await client.ended(id);
  expect(job.state).toBe('rejected');
  expect((await client.fetch(`/v1/jobs/${id}/receipt`)).status).toBe(409);
  return job.reason?.detail ?? '';
}

const seenBefore = new Set<string>();
async function fresh(prompt: string, more: object = ONE) {
  expect(seenBefore.has(prompt)).toBe(false);
  seenBefore.add(prompt);
  const { id } = await client.submit(completion(prompt, more));
  return { id, claim: await hostile.claim(id) };
}

describe('a worker with its own key and all of its Redis rights', () => {
  test('1. returns a made-up output', async () => {
    const { id, claim } = await fresh('1', RECOMPUTED);
    const output = JSON.stringify({ text: 'invented', finish_reason: 'stop' });
    await hostile.claims.commitEvidence(claim, hostile.sign(hostile.evidence(claim, output)), output);
    expect(await rejected(id)).toContain('RECOMPUTED_OUTPUT_DIFFERS');
  });

  /** A job of the real model whose tokens are replayed, answered by `make`. */
  async function answered(
    make: (
      prompt: string,
      seed: number,
    ) => Promise<{ output: string; tokens: readonly number[]; finish: 'stop' | 'length'; input: number }>,
  ) {
    const seed = randomBytes(2).readUInt16BE();
    const prompt = 'And the king of the land said';
    const params = { temperature: 0.8, seed, max_tokens: 96 };
    const { id } = await client.submit({
      model: 'kjv-1m',
      task: 'completion',
      input: { prompt },
      params,
      attestation: { recompute: 0, tokens: 1 },
      ...ONE,
    });
    const claim = await hostile.claim(id);
    const { output, tokens, finish, input } = await make(prompt, seed);
    const bytes = encodeTokens(tokens);
    const base = hostile.evidence(claim, output);
    const evidence: Evidence = {
      ...base,
      predicate: {
        ...base.predicate,
        engine: { name: 'llama', version: '1', sha256: sha256Hex('') },
        usage: { inputTokens: input, outputTokens: tokens.length },
        finishReason: finish,
        tokens: { sha256: sha256Hex(bytes) },
      },
    };
    // The order of members is that of the format.
    const { startedAt, finishedAt, tokens: named, ...rest } = evidence.predicate;
    const ordered = { ...evidence, predicate: { ...rest, tokens: named, startedAt, finishedAt } };
    await hostile.claims.commitEvidence(claim, hostile.sign(ordered), output, bytes.toString('base64'));
    return id;
  }
  const by = async (file: string, prompt: string, seed: number) => {
    const engine = await load(file);
    try {
      const made = await answer(engine, work(seed, 0.8), prompt);
      return {
        output: made.output,
        tokens: made.tokens ?? [],
        finish: 'length' as const,
        input: made.usage.inputTokens,
      };
    } finally {
      await engine.close();
    }
  };

  test('2. runs a smaller quantisation of the model', async () => {
    expect((await client.ended(await answered((prompt, seed) => by(Q8, prompt, seed)))).state).toBe('done');
    expect(await rejected(await answered((prompt, seed) => by(Q4, prompt, seed)))).toMatch(
      /TOKENS_UNLIKELY|TOKEN_OUT_OF_PLACE/,
    );
  });

  test('3. replays its earlier valid result for a new job', async () => {
    const first = await fresh('3 first');
    const output = hostile.honestOutput(first.claim);
    const evidence = hostile.sign(hostile.evidence(first.claim, output));
    await hostile.claims.commitEvidence(first.claim, evidence, output);
    expect((await client.ended(first.id)).state).toBe('done');
    const second = await fresh('3 second');
    await hostile.claims.commitEvidence(second.claim, evidence, output);
    // It is no word about this job: the attempt is lost, as if nothing had been said.
    expect((await client.ended(second.id)).state).toBe('failed');
    expect((await client.fetch(`/v1/jobs/${second.id}/receipt`)).status).toBe(409);
  });

  const at = Date.parse('2026-11-21T00:00:00Z');
  const subject: TeeSubject = {
    worker: 'w',
    publicKey: randomBytes(32),
    tlsSpkiSha256: Buffer.alloc(0),
    nonce: randomBytes(32),
    modelManifestSha256: Buffer.alloc(0),
  };
  const floor = { bootloader: 0, tee: 0, snp: 0, microcode: 0 };
  const policy = TeePolicy.parse({
    version: 1,
    sevSnp: { measurements: [Buffer.alloc(48, 7).toString('hex')], minTcb: { genoa: floor, milan: floor } },
  });
  async function quoted(about: TeeSubject, judged: TeeSubject, gpu = Buffer.alloc(0), bits?: bigint) {
    const chip = await Chip.make();
    const report = await chip.report(workerBinding({ ...about, gpuEvidenceSha256: gpu }), bits);
    const evidence = { version: 1, cpu: { kind: 'sev-snp', report: report.toString('base64') } } as const;
    return verifyTeeEvidence(evidence, { snpChain: chip.chainPem }, judged, policy, at, chip.roots);
  }

  test('4. replays hardware evidence with an old nonce, or with a byte more', async () => {
    expect((await quoted(subject, subject)).properties).toEqual(['TEE_SEV_SNP_OK']);
    await expect(quoted({ ...subject, nonce: randomBytes(32) }, subject)).rejects.toMatchObject({
      refusal: 'TEE_NOT_BOUND',
    });
    // The challenge of an enrolment is burned by its first use: see "enrols by challenge, once".
  });
  test('5. runs in a guest that can be debugged', async () => {
    await expect(quoted(subject, subject, undefined, 0xb0000n)).rejects.toMatchObject({ refusal: 'TEE_DEBUG' });
  });
  test('8. splices the GPU evidence of another box, and 9. signs with a key that was not attested', async () => {
    await expect(quoted(subject, subject, createHash('sha256').update('gpu').digest())).rejects.toMatchObject({
      refusal: 'TEE_NOT_BOUND',
    });
    await expect(quoted({ ...subject, publicKey: randomBytes(32) }, subject)).rejects.toMatchObject({
      refusal: 'TEE_NOT_BOUND',
    });
  });

  describeVectors('with quotes of others', () => {
    const read = (name: string) => readFileSync(join(VECTORS, 'tdx', name));
    test('6. stale firmware and collateral that has ended', async () => {
      const collateral: unknown = JSON.parse(read('tdx_quote_collateral.json').toString());
      await expect(
        verifyIntelQuote(read('tdx_quote'), collateral, Date.parse('2025-07-19T10:16:04Z')),
      ).rejects.toMatchObject({ refusal: 'TEE_COLLATERAL_INVALID' });
      await expect(
        verifyIntelQuote(
          read('tdx_quote_outdated'),
          JSON.parse(read('tdx_quote_outdated_collateral.json').toString()),
          Date.parse('2026-03-01'),
        ),
      ).rejects.toMatchObject({ refusal: 'TEE_TCB_OUT_OF_DATE' });
    });
    test('7. its own revocation list', async () => {
      const collateral = JSON.parse(read('tdx_quote_collateral.json').toString()) as object;
      for (const pck_crl of ['', '00', 'ff'.repeat(300)])
        await expect(
          verifyIntelQuote(read('tdx_quote'), { ...collateral, pck_crl }, Date.parse('2025-07-01')),
        ).rejects.toMatchObject({ refusal: 'TEE_COLLATERAL_INVALID' });
    });
    test('10. a key of small order', () => {
      const all =
        readFileSync(join(VECTORS, 'ed25519/small-order-public-keys.json'), 'utf8').match(/[0-9a-f]{64}/g) ?? [];
      expect(all.length).toBeGreaterThanOrEqual(8);
      const honest = requestEnrolment(newKey(), {
        challenge: '0'.repeat(64),
        operator: 'x',
        labels: {},
        gpu: null,
        evidence: null,
      });
      for (const hex of all) {
        const facts = {
          ...(JSON.parse(honest.facts) as object),
          publicKey: Buffer.from(hex, 'hex').toString('base64'),
        };
        const signature = Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(32)]).toString('base64');
        const request = EnrolmentRequest.parse({ facts: JSON.stringify(facts), signature, predecessorSignature: null });
        expect(() => openEnrolment(request, () => undefined)).toThrow('prime order');
      }
    });
  });

  test('11. submits after its lease was lost', async () => {
    const { id } = await client.submit(completion('11', { attempts: 2 }));
    const old = await pipeline.hand(1, 1_000).claim(id);
    const other = pipeline.hand(2);
    const next = await until(async () => {
      const reply = await other.tryClaim(id);
      return reply.kind === 'ok' && reply.claim;
    });
    expect(await hostile.commit(old)).toBe('fenced');
    expect(await other.commit(next)).toBe('ok');
    expect((await client.ended(id)).attempts.at(-1)).toMatchObject({ epoch: 2, worker: other.id });
  });

  wholeTest('12. copies a peer of its quorum: it can read neither the vote nor anything of it', async () => {
    const { keys } = pipeline.redis;
    const policy = { recompute: 0, quorum: { of: 2, agree: 2 } };
    // Two workers must be there for a quorum to be promised; these answer by hand.
    const running = await Promise.all([pipeline.worker(3), pipeline.worker(4)]);
    await pipeline.freeze(...running);
    try {
      const { id } = await until(() =>
        client.submit(completion('12', { attempts: 1, attestation: policy })).catch(() => undefined),
      );
      const honest = pipeline.hand(2);
      const claim = await honest.claim(id);
      await honest.commit(claim);
      await until(async () => (await client.job(id)).attempts[claim.epoch - 1]?.closed?.why === 'voted');
      for (const command of ['hgetall', 'hkeys', 'hvals'])
        await expect(hostile.redis.call(command, keys.evidence(id))).rejects.toThrow('NOPERM');
      await expect(hostile.redis.hget(keys.evidence(id), 'x')).rejects.toThrow('NOPERM');
      expect(await hostile.redis.exists(keys.chunks(id))).toBe(0);
      const ruled = JSON.stringify(await hostile.redis.hgetall(keys.ruling(id)));
      expect(ruled).not.toContain(sha256Hex(honest.honestOutput(claim)));
    } finally {
      for (const { process } of running) process.kill('SIGKILL');
    }
  });

  test('13. looks for the mark of an audit: nothing that it can read differs between jobs', async () => {
    const shapes = new Set<string>();
    for (let number = 0; number < 12; number += 1) {
      const { claim } = await fresh(`13 ${number}`, { ...ONE, attestation: { recompute: 0.5 } });
      const { predicate } = hostile.ticket(claim).ticket;
      const readable = await hostile.redis.hmget(
        pipeline.redis.keys.ticket(claim.id),
        'queue',
        'model',
        'attempts',
        'cost',
        'cancel',
      );
      shapes.add(JSON.stringify([Object.keys(predicate), predicate.policy, readable, Object.keys(claim)]));
      await hostile.commit(claim);
    }
    expect(shapes.size).toBe(1);
  });

  test('14. sends bombs: in evidence, in notes, in CBOR; others are served', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const { claim } = await fresh('14', ONE);
    await hostile.writeRaw(claim, Buffer.from(deep), '{}');
    expect(() => parseNote(`${'a'.repeat(70_000)}\n\n— ${'(.+)+!'.repeat(9_000)} AAAA\n`)).toThrow();
    expect(() => verifyNitroDocument(Buffer.alloc(30_000, 0x9f), at)).toThrow();
    const honest = await fresh('14 after');
    expect(await hostile.commit(honest.claim)).toBe('ok');
    expect((await client.ended(honest.id)).state).toBe('done');
  });

  test('15. drops the last token, and says that it is all', async () => {
    const cut = await answered(async (prompt, seed) => {
      const made = await by(Q8, prompt, seed);
      return { ...made, tokens: made.tokens.slice(0, -1) };
    });
    expect(await rejected(cut)).toContain('TOKENS_TEXT_DIFFERS');
  });
});

describe('a client with a receipt or an API key', () => {
  const base = documents(5);
  test('16. changes afterwards what it asked', () => {
    const ticket = {
      ...base.ticket,
      predicate: { ...base.ticket.predicate, params: { ...base.ticket.predicate.params, temperature: 1.9 } },
    };
    const kept = JSON.parse(signed(base).toString()) as { ticket: { payload: string } };
    kept.ticket.payload = Buffer.from(JSON.stringify(ticket)).toString('base64');
    expect(refusal(Buffer.from(`${JSON.stringify(kept)}\n`))).toBe('bad_signature');
    expect(refusal(signed({ ...base, ticket }))).toBe('mismatch');
  });
  test('17. forges a receipt with a key of its own, another algorithm or another payload type', () => {
    const forger = newKey();
    for (const role of ['api', 'attestor'] as const)
      expect(refusal(signed(base, { [role]: forger }))).toBe('untrusted_key');
    expect(refusal(signed(base, { worker: forger }))).toBe('wrong_worker');
    expect(refusal(signed(base, { log: forger }))).toBe('not_logged');
    const text = signed(base).toString();
    expect(refusal(Buffer.from(text.replaceAll('application/vnd.in-toto+json', 'application/json')))).toBe('malformed');
  });
  test('18. uses an idempotency key again with another body', async () => {
    const headers = { 'idempotency-key': 'attack-18' };
    expect((await client.post('/v1/jobs', completion('18 first'), headers)).status).toBe(202);
    const second = await client.post('/v1/jobs', completion('18 second'), headers);
    expect([second.status, ((await second.json()) as { code: string }).code]).toEqual([422, 'idempotency_key_reused']);
  });
  test('19. tries a dictionary of short texts against the log', async () => {
    const { keys } = pipeline.redis;
    const entries = (await pipeline.redis.client().lrange(keys.logTail, 0, -1)).join('\n');
    expect(parseBundle(Buffer.alloc(0))).toEqual([]);
    expect(entries.length).toBeGreaterThan(200);
    for (const prompt of seenBefore)
      for (const text of [prompt, JSON.stringify({ prompt }), `verdict\0${prompt}`])
        for (const encoding of ['hex', 'base64'] as const)
          expect(entries).not.toContain(createHash('sha256').update(text).digest(encoding));
  });
});

describe('whoever administers the queue and its Redis', () => {
  test('20. marks a job as done without an attestor', async () => {
    const { id, claim } = await fresh('20');
    const [admin, { keys }] = [pipeline.redis.client(), pipeline.redis];
    const output = JSON.stringify({ text: 'never confirmed', finish_reason: 'stop' });
    const evidence = hostile.sign(hostile.evidence(claim, output));
    const stored = Buffer.concat([
      Buffer.from(`${evidence.keyId}.${evidence.signature.toString('base64')}.`),
      evidence.payload,
    ]);
    await admin.hset(keys.evidence(id), { f: stored, 'f:o': output });
    const forge = (verdict: Buffer) =>
      admin.hset(keys.ruling(id), {
        state: 'done',
        ended: Date.now(),
        epoch: 1,
        reason: 'confirmed x',
        verdict,
        field: 'f',
        logged: '1 0 AAAA',
        log: '1',
      });
    // With the worker's own signature in place of the attestor's, and with a true verdict about another job.
    const other = await fresh('20 other');
    await hostile.commit(other.claim);
    expect((await client.ended(other.id)).state).toBe('done');
    const foreign = await admin.hgetBuffer(keys.ruling(other.id), 'verdict');
    for (const verdict of [stored, foreign ?? stored]) {
      await forge(verdict);
      for (const what of ['output', 'receipt']) expect((await client.fetch(`/v1/jobs/${id}/${what}`)).status).toBe(409);
    }
  });
  test('21. shows two trees of one size, and 25. an older checkpoint', async () => {
    const source = async (path: string) => {
      const response = await fetch(`${pipeline.url}/log/${path}`);
      return response.ok ? Buffer.from(await response.arrayBuffer()) : undefined;
    };
    const now = (await source('checkpoint'))?.toString() ?? '';
    const lied = (path: string) =>
      path === 'checkpoint' ? Promise.resolve(Buffer.from(now.replace(/\n(\d+)\n/, '\n1\n'))) : source(path);
    await expect(auditLog(lied, pipeline.keyring.logPolicy, [])).rejects.toThrow('does not verify');
    const honest = await fresh('21');
    await hostile.commit(honest.claim);
    await client.ended(honest.id);
    const later = (await source('checkpoint'))?.toString() ?? '';
    const rolledBack = (path: string) => (path === 'checkpoint' ? Promise.resolve(Buffer.from(now)) : source(path));
    await expect(auditLog(rolledBack, pipeline.keyring.logPolicy, [later])).rejects.toThrow('truncated');
  });
  test("22. serves another leaf's proof", async () => {
    const done = await Promise.all(
      ['22 one', '22 two'].map(async (prompt) => {
        const { id, claim } = await fresh(prompt);
        await hostile.commit(claim);
        await client.ended(id);
        return JSON.parse((await client.receipt(id)).toString()) as { log: { salt: string; proof: string } };
      }),
    );
    const [one, two] = done;
    if (!one || !two) throw new Error('no receipts');
    verifyReceipt(Buffer.from(`${JSON.stringify(one)}\n`), pipeline.keyring);
    for (const log of [two.log, { ...one.log, proof: two.log.proof }, { ...two.log, proof: one.log.proof }])
      expect(() => verifyReceipt(Buffer.from(`${JSON.stringify({ ...one, log })}\n`), pipeline.keyring)).toThrow();
  });
});

describe('an attestor that lies, and a thief of old documents', () => {
  const base = documents(6);
  const verdictWith = (change: Partial<Verdict['predicate']>) =>
    refusal(signed({ ...base, verdict: { ...base.verdict, predicate: { ...base.verdict.predicate, ...change } } }));
  test('23. signs without having checked what was promised', () => {
    const { properties } = base.verdict.predicate;
    expect(
      verdictWith({
        properties: properties.slice(0, 8),
        recompute: { promisedShare: 1, drawn: false },
        notChecked: ['OUTPUT_NOT_RECOMPUTED', 'HARDWARE_NOT_ATTESTED'],
      }),
    ).toBe('promise_not_kept');
    expect(verdictWith({ properties: [...properties, 'TOKENS_REPLAYED'] })).toBe('promise_not_kept');
    expect(verdictWith({ properties: [] })).toBe('promise_not_kept');
  });
  test('24. dates its verdict a day before the question', () => {
    const early = new Date(Date.parse(base.ticket.predicate.createdAt) - 86_400_000).toISOString();
    expect(verdictWith({ timeCreated: early })).toBe('mismatch');
  });
  test('25. replays a verdict for another job, and a list of workers from before a revocation', async () => {
    expect(refusal(signed({ ...base, verdict: documents(7).verdict }))).toBe('mismatch');
    const attestor = pipeline.running().find(({ name }) => name === 'attestor');
    pipeline.enrol([], { serial: 50 });
    await until(() => attestor?.stderr().includes('"serial":50'));
    pipeline.enrol([], { serial: 49 });
    await until(() => attestor?.stderr().includes('it has been rolled back'));
    expect(workerIdOf(newKey().public)).toMatch(/^w-/);
  });
});
