import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { publicKeyFromRaw } from '../../src/ground/keys/signing-key.ts';
import { formatCheckpoint, openCheckpoint } from '../../src/proof/tlog/checkpoint.ts';
import { EMPTY_ROOT, leafHash, verifyConsistency, verifyInclusion } from '../../src/proof/tlog/merkle.ts';
import {
  formatNote,
  formatSignature,
  formatVkey,
  noteKey,
  parseNote,
  parseVkey,
  signNote,
  verifyNote,
} from '../../src/proof/tlog/signed-note.ts';
import { parseProof } from '../../src/proof/tlog/tlog-proof.ts';
import { Witness } from '../../src/proof/tlog/witness.ts';
import { newKey } from '../support/sample-receipts.ts';
import { VECTORS, describeVectors, vectors } from '../support/vectors.ts';

interface InclusionCase {
  leafIdx: number;
  treeSize: number;
  root: string;
  leafHash: string;
  proof: string[] | null;
  desc: string;
  wantErr: boolean;
}
interface ConsistencyCase {
  size1: number;
  size2: number;
  root1: string;
  root2: string;
  proof: string[] | null;
  desc: string;
  wantErr: boolean;
}

const bytes = (text: string | null | undefined) => Buffer.from(text ?? '', 'base64');
function casesOf<Case>(kind: string): [string, Case][] {
  const folder = join(VECTORS, 'merkle', 'testdata', kind);
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.json'))
    .map((file) => [file, JSON.parse(readFileSync(join(folder, file), 'utf8')) as Case]);
}

describeVectors('vectors by others, for the log', () => {
  test('inclusion proofs: all cases agree', () => {
    const cases = casesOf<InclusionCase>('inclusion');
    expect(cases.length).toBeGreaterThanOrEqual(98);
    for (const [file, { leafIdx, treeSize, root, leafHash: leaf, proof, wantErr }] of cases) {
      const tree = { size: treeSize, root: bytes(root) };
      expect([file, verifyInclusion(bytes(leaf), leafIdx, tree, (proof ?? []).map(bytes))]).toEqual([file, !wantErr]);
    }
  });

  test('consistency proofs: all cases agree', () => {
    const cases = casesOf<ConsistencyCase>('consistency');
    expect(cases.length).toBeGreaterThanOrEqual(98);
    for (const [file, { size1, size2, root1, root2, proof, wantErr }] of cases) {
      const [older, newer] = [
        { size: size1, root: bytes(root1) },
        { size: size2, root: bytes(root2) },
      ];
      expect([file, verifyConsistency(older, newer, (proof ?? []).map(bytes))]).toEqual([file, !wantErr]);
    }
  });

  test('signed notes verify or not as their entries say, and vkeys are read and written alike', () => {
    const { vectors: entries, witnessVkeys } = vectors('tlog/signed-notes.json') as {
      vectors: { name: string; vkey: string; note: string; valid: boolean }[];
      witnessVkeys: Record<string, string>;
    };
    for (const { name, vkey, note, valid } of entries) {
      const verified = () => verifyNote(parseNote(note), parseVkey(vkey)) !== undefined;
      expect([name, verified()]).toEqual([name, valid]);
    }
    for (const vkey of Object.values(witnessVkeys)) expect(formatVkey(parseVkey(vkey))).toBe(vkey);
    expect(Object.keys(witnessVkeys).length).toBeGreaterThan(1);
  });

  test('proofs that must not parse do not', () => {
    const { mustFail } = vectors('tlog/tlog-proof.negative.json') as { mustFail: { name: string; proof: string }[] };
    expect(mustFail.length).toBeGreaterThanOrEqual(8);
    for (const { name, proof } of mustFail)
      expect([name, () => parseProof(proof)]).toEqual([name, expect.any(Function)]);
    for (const { proof } of mustFail) expect(() => parseProof(proof)).toThrow(/proof|hash/);
  });

  test('a witness answers the sequence of requests of another witness as that one did', async () => {
    const { logOrigin, logEd25519PublicKeyHex, cases } = vectors('tlog/witness-add-checkpoint.sequence.json') as {
      logOrigin: string;
      logEd25519PublicKeyHex: string;
      cases: { body: string; expectStatus: number; asserts: string[] }[];
    };
    const log = noteKey(logOrigin, 'ed25519', publicKeyFromRaw(Buffer.from(logEd25519PublicKeyHex, 'hex')));
    const folder = mkdtempSync(join(tmpdir(), 'cs-witness-'));
    const key = newKey();
    const name = 'example.com/witness';
    const begun = Math.floor(Date.now() / 1_000);
    try {
      for (const { body, expectStatus: told, asserts } of cases) {
        // That witness was of a time before C2SP tlog-witness had a status of its own for unknown logs.
        const expectStatus = asserts.includes('unknown log') ? 404 : told;
        // Made anew for each request: what it has signed stands on the disk.
        const witness = new Witness({ name, key, logs: [log], folder });
        const answer = await witness.addCheckpoint(body);
        expect([body.slice(0, 40), answer.status]).toEqual([body.slice(0, 40), expectStatus]);
        if (expectStatus === 409) expect(answer.body).toMatch(/^\d+\n$/);
        if (expectStatus !== 200) continue;
        const note = body.slice(body.indexOf('\n\n') + 2);
        const cosigned = parseNote(`${note}${answer.body}`);
        const { atSeconds = 0 } = verifyNote(cosigned, noteKey(name, 'cosignature/v1', key.public)) ?? {};
        expect(atSeconds).toBeGreaterThanOrEqual(begun);
        expect(atSeconds).toBeLessThanOrEqual(Date.now() / 1_000);
      }
      const witness = new Witness({ name, key, logs: [log], folder });
      for (const bad of [
        '',
        'old 1',
        'old -1\n\nx',
        'old 01\n\nx',
        'old 1\n!!\n\nx',
        `old 1\n${'A'.repeat(70_000)}\n\nx`,
      ])
        expect((await witness.addCheckpoint(bad)).status).toBe(400);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('a witness cosigns no fork: the same size, or size 0, with another root is 422, and an unknown log 404', async () => {
    const [log, key] = [newKey(), newKey()];
    const origin = 'example.com/log';
    const folder = mkdtempSync(join(tmpdir(), 'cs-witness-'));
    const witness = new Witness({
      name: 'w.test',
      key,
      logs: [noteKey(origin, 'ed25519', log.public), noteKey(origin, 'ed25519', newKey().public)],
      folder,
    });
    const ask = (old: number, size: number, root: Buffer, change = (note: string) => note) => {
      const text = formatCheckpoint({ origin, size, root });
      return witness.addCheckpoint(
        `old ${old}\n\n${change(formatNote({ text, signatures: [signNote(text, origin, log)] }))}`,
      );
    };
    const [one, two] = [leafHash(Buffer.from('1')), leafHash(Buffer.from('2'))];
    try {
      expect(await ask(0, 0, one)).toMatchObject({ status: 422 });
      expect(await ask(0, 0, EMPTY_ROOT)).toMatchObject({ status: 200 });
      expect(await ask(0, 1, one)).toMatchObject({ status: 200 });
      expect(await ask(1, 1, two)).toMatchObject({ status: 422 });
      expect(await ask(1, 1, one)).toMatchObject({ status: 200 });
      expect(await ask(0, 1, one)).toEqual({ status: 409, body: '1\n' });
      expect(await ask(2, 1, one)).toMatchObject({ status: 400 });
      expect(await ask(1, 1, one, (note) => `${note}${note.split('\n').at(-2) ?? ''}\n`)).toMatchObject({
        status: 200,
      });
      expect(await ask(1, 1, one, (note) => note.replaceAll(origin, 'example.com/other'))).toMatchObject({
        status: 404,
      });
      const foreign = formatSignature(signNote('another text\n', origin, log));
      expect(await ask(1, 1, one, (note) => `${note}${foreign}`)).toMatchObject({ status: 403 });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('the checkpoint of the Sigsum log opens under its key, and not with another size', () => {
    const { logOrigin, logEd25519PublicKeyHex, cases } = vectors('tlog/witness-add-checkpoint.sequence.json') as {
      logOrigin: string;
      logEd25519PublicKeyHex: string;
      cases: { body: string }[];
    };
    const log = noteKey(logOrigin, 'ed25519', publicKeyFromRaw(Buffer.from(logEd25519PublicKeyHex, 'hex')));
    const body = cases[0]?.body ?? '';
    const note = body.slice(body.indexOf('\n\n') + 2);
    expect(openCheckpoint(note, log).checkpoint.size).toBe(1);
    expect(() => openCheckpoint(note.replace('\n1\n', '\n2\n'), log)).toThrow('does not verify');
  });
});
