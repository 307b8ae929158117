import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { publicKeyFromRaw } from '../../src/ground/keys/signing-key.ts';
import { formatCheckpoint, openCheckpoint } from '../../src/proof/tlog/checkpoint.ts';
import {
  consistencyProof,
  inclusionProof,
  leafHash,
  nodeHash,
  rootOf,
  verifyConsistency,
  verifyInclusion,
  type SubtreeHash,
} from '../../src/proof/tlog/merkle.ts';
import {
  cosignNote,
  formatNote,
  formatVkey,
  noteKey,
  parseNote,
  parseVkey,
  signNote,
  verifyNote,
} from '../../src/proof/tlog/signed-note.ts';
import { formatProof, parseProof } from '../../src/proof/tlog/tlog-proof.ts';
import { parsePolicy, verifyLogged } from '../../src/proof/tlog/tlog-policy.ts';
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
      cases: { body: string; expectStatus: number }[];
    };
    const log = noteKey(logOrigin, 'ed25519', publicKeyFromRaw(Buffer.from(logEd25519PublicKeyHex, 'hex')));
    const folder = mkdtempSync(join(tmpdir(), 'cs-witness-'));
    const key = newKey();
    const name = 'example.com/witness';
    const begun = Math.floor(Date.now() / 1_000);
    try {
      for (const { body, expectStatus } of cases) {
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

/** A tree of `size` leaves, kept whole. */
function treeOf(size: number): { leaves: Buffer[]; hashes: SubtreeHash } {
  const leaves = Array.from({ length: size }, (_, index) => leafHash(Buffer.from(`entry ${index}`)));
  const hashes: SubtreeHash = (level, index) => {
    const leaf = leaves[index];
    if (level > 0) return nodeHash(hashes(level - 1, index * 2), hashes(level - 1, index * 2 + 1));
    if (leaf === undefined) throw new Error('there is no such leaf');
    return leaf;
  };
  return { leaves, hashes };
}

test('every proof that is made verifies, and no other index, size, root or hash does', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(), fc.nat(), fc.nat(), (size, a, b, flip) => {
      const { leaves, hashes } = treeOf(size);
      const [index, older] = [a % size, b % (size + 1)];
      const newer = { size, root: rootOf(hashes, size) };
      const leaf = leaves[index] ?? Buffer.alloc(0);
      const inclusion = inclusionProof(hashes, index, size);
      expect(verifyInclusion(leaf, index, newer, inclusion)).toBe(true);
      for (let other = 0; other < size; other += 1)
        if (other !== index) expect(verifyInclusion(leaf, other, newer, inclusion)).toBe(false);
      const before = { size: older, root: rootOf(hashes, older) };
      const consistency = consistencyProof(hashes, older, size);
      expect(verifyConsistency(before, newer, consistency)).toBe(older > 0);
      const wrong = Buffer.from(before.root);
      wrong[flip % 32] = (wrong[flip % 32] ?? 0) ^ 1;
      expect(verifyConsistency({ size: older, root: wrong }, newer, consistency)).toBe(false);
      if (consistency.length > 0)
        expect(verifyConsistency(before, newer, consistency.with(0, leafHash(Buffer.from('x'))))).toBe(false);
    }),
    { numRuns: 200 },
  );
});

test('a policy wants its log, its quorum and an honest proof', () => {
  const [logKey, forger, w1, w2, w3] = [newKey(), newKey(), newKey(), newKey(), newKey()];
  const origin = 'countersign.test/log';
  const { hashes } = treeOf(9);
  const entry = Buffer.from('entry 4');
  const text = formatCheckpoint({ origin, size: 9, root: rootOf(hashes, 9) });
  const witnessKeys = [w1, w2, w3].map((key, index) => noteKey(`w${index + 1}.test`, 'cosignature/v1', key.public));
  const lines = [
    '# a comment',
    `log ${formatVkey(noteKey(origin, 'ed25519', logKey.public))} http://127.0.0.1/log`,
    ...witnessKeys.map((key, index) => `witness w${index + 1} ${formatVkey(key)}`),
    'group most 2 w1 w2 w3',
    'quorum most',
  ];
  const policy = parsePolicy(lines.join('\n'));
  const proofWith = (...cosigned: { key: typeof w1; name: string; at: number }[]) =>
    formatProof({
      index: 4,
      hashes: inclusionProof(hashes, 4, 9),
      checkpoint: formatNote({
        text,
        signatures: [
          signNote(text, origin, logKey),
          ...cosigned.map(({ key, name, at }) => cosignNote(text, name, key, at)),
        ],
      }),
    });
  const [c1, c2, c3] = [
    { key: w1, name: 'w1.test', at: 1_000 },
    { key: w2, name: 'w2.test', at: 3_000 },
    { key: w3, name: 'w3.test', at: 2_000 },
  ];
  expect(verifyLogged(policy, proofWith(c1, c2, c3), entry)).toEqual({
    origin,
    index: 4,
    size: 9,
    witnesses: ['w1', 'w2', 'w3'],
    seenAtSeconds: 2_000,
  });
  expect(() => verifyLogged(policy, proofWith(c1), entry)).toThrow('Too few');
  // The same witness twice is one, and two that contradict each other are none.
  expect(() => verifyLogged(policy, proofWith(c1, c1), entry)).toThrow('Too few');
  expect(() => verifyLogged(policy, proofWith(c1, { ...c2, key: forger }), entry)).toThrow('Too few');
  expect(() => verifyLogged(policy, proofWith(c1, c2), Buffer.from('entry 5'))).toThrow('does not lead');
  expect(() => verifyLogged(policy, proofWith(c1, c2).replace('index 4', 'index 5'), entry)).toThrow('does not lead');
  expect(() => verifyLogged(policy, proofWith(c1, c2).replaceAll(origin, 'other.test/log'), entry)).toThrow(
    'does not name',
  );
  const late = proofWith(c1, c2).replace(/(— w1\.test )(....)/, '$1AAAA');
  expect(() => verifyLogged(policy, late, entry)).toThrow('Too few');

  for (const [bad, why] of [
    ['quorum none', 'names no log'],
    [lines[1] ?? '', 'no quorum line'],
    [`${lines.join('\n')}\nquorum none`, 'there is one line'],
    [lines.join('\n').replace('group most 2', 'group most 4'), 'is no number of them'],
    [lines.join('\n').replace('w1 w2 w3\n', 'w1 w1 w3\n'), 'each member once'],
    [lines.join('\n').replace('quorum most', 'quorum many'), 'nothing above is named many'],
    [
      `${lines.join('\n')}\nwitness w4 ${formatVkey(witnessKeys[0] ?? noteKey('x', 'ed25519', w1.public))}`,
      'there already',
    ],
    [`${lines.join('\n')}\nlog ${formatVkey(noteKey('small', 'ed25519', logKey.public)).slice(0, -4)}AAAA`, ''],
  ] as const)
    expect(() => parsePolicy(bad)).toThrow(why);
});
