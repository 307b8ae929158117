import { describe, expect, test } from '@jest/globals';
import { SigningKey } from '../../ground/keys/signing-key.ts';
import { formatCheckpoint } from './checkpoint.ts';
import { leafHash, nodeHash } from './merkle.ts';
import { LogRefused, cosignNote, formatNote, formatSignature, formatVkey, noteKey, signNote } from './signed-note.ts';
import { formatProof } from './tlog-proof.ts';
import { parsePolicy, plainProof, verifyLogged } from './tlog-policy.ts';

const ORIGIN = 'example.com/log';
const newKey = (byte: number) => new SigningKey(Buffer.alloc(32, byte));
const log = newKey(1);
const witnessKeys = { w1: newKey(11), w2: newKey(12), w3: newKey(13) };
type WitnessName = keyof typeof witnessKeys;
const WITNESSES: readonly WitnessName[] = ['w1', 'w2', 'w3'];

const logLine = `log ${formatVkey(noteKey(ORIGIN, 'ed25519', log.public))}`;
const vkeyOf = (name: WitnessName) => formatVkey(noteKey(`${name}.test`, 'cosignature/v1', witnessKeys[name].public));
const witnessLines = WITNESSES.map((name) => `witness ${name} ${vkeyOf(name)}`);
const policy = (...lines: string[]) => parsePolicy([logLine, ...witnessLines, ...lines].join('\n'));

/** A key of ML-DSA-44, which is not known here. */
const unread = (byte: number) =>
  `mldsa.test+0000000${byte}+${Buffer.concat([Buffer.of(6), Buffer.alloc(1_312, byte)]).toString('base64')}`;

describe('a quorum', () => {
  test.each([
    ['any of three', ['group g any w1 w2 w3', 'quorum g'], ['w3'], []],
    ['all of two', ['group g all w1 w2', 'quorum g'], ['w1', 'w2'], ['w1', 'w3']],
    ['two of three', ['group g 2 w1 w2 w3', 'quorum g'], ['w1', 'w3'], ['w2']],
    ['a group within a group', ['group a all w1 w2', 'group g any a w3', 'quorum g'], ['w3'], ['w1']],
    ['one witness', ['quorum w2'], ['w2'], ['w1', 'w3']],
  ])('of %s is reached by those who suffice and by no fewer', (_, lines, enough, tooFew) => {
    const { isQuorum } = policy(...lines);
    expect([isQuorum(new Set(enough)), isQuorum(new Set(tooFew))]).toEqual([true, false]);
  });

  test('with witnesses whose keys are not known here is reached by the others, and never by those', () => {
    const lines = [`witness q ${unread(1)}`, 'group g 2 w1 w2 q', 'quorum g'];
    const { isQuorum, witnesses } = policy(...lines);
    expect(witnesses.map(({ name }) => name)).toEqual(WITNESSES);
    expect([isQuorum(new Set(['w1', 'w2'])), isQuorum(new Set(['w1', 'q']))]).toEqual([true, false]);
    expect(policy(`log ${unread(2)}`, 'quorum w1').logs).toHaveLength(1);
  });

  test('of none is reached without witnesses', () => {
    expect(policy('quorum none').isQuorum(new Set())).toBe(true);
  });
});

describe('a policy', () => {
  test('takes comments, empty lines and tabs', () => {
    const { logs, witnesses } = policy('# a comment', '', '\t', '  quorum\tw1  ');
    expect([logs.length, witnesses.map(({ name }) => name)]).toEqual([1, WITNESSES]);
  });

  test.each([
    ['an unknown line', ['require w1'], 'Line 5'],
    ['a member that is named later', ['group g any later', `witness later ${vkeyOf('w1')}`], 'nothing above is named'],
    ['a witness under two names', [`witness again ${vkeyOf('w1')}`], 'this witness is there already'],
    ['a log twice', [logLine], 'this log is there already'],
    ['a name twice', ['group w1 any w2'], 'the name w1 is there already'],
    ['a member twice', ['group g 2 w1 w1'], 'each member once'],
    ['more wanted than there are', ['group g 4 w1 w2 w3'], 'is no number of them'],
    ['none wanted', ['group g 0 w1'], 'is no number of them'],
    ['a group named none', ['group none any w1'], 'is "none"'],
    ['a quorum without a rule', ['quorum many'], 'nothing above is named many'],
    ['a witness in two groups', ['group a any w1 w2', 'group g all a w1'], 'w1 is a member of a group already'],
    ['a group in two groups', ['group a any w1', 'group b any a', 'group c any a'], 'a is a member of a group already'],
    ...['0x1', '1e0', '+1', '1.0', ' ', '', '-1', 'one', '١', '1_0'].map((count): [string, string[], string] => [
      `${count || 'nothing'} for a number`,
      [`group g ${count} w1 w2 w3`],
      'is no number of them',
    ]),
    ['a line that ends as on Windows', ['quorum w1\r'], 'control characters'],
    ['another space than a blank', ['quorum\u00a0w1'], 'begins with none of'],
    ['a log that only cosigns', [`log ${vkeyOf('w1')}`], 'signs checkpoints'],
    ['an unread witness twice', [`witness a ${unread(1)}`, `witness b ${unread(1)}`], 'this witness is there already'],
    ['two quorums', ['quorum w1', 'quorum w2'], 'there is one line'],
    ['no quorum', [], 'has no quorum line'],
  ])('with %s is refused', (_, lines, why) => {
    expect(() => policy(...lines)).toThrow(why);
  });

  test('whose witness has the key of a log is refused, and so is one without a log', () => {
    expect(() => parsePolicy(`witness w ${formatVkey(noteKey('w', 'ed25519', log.public))}`)).toThrow('cosignatures');
    expect(() => parsePolicy('quorum none')).toThrow('names no log');
  });
});

describe('an entry', () => {
  const entry = Buffer.from('entry');
  const first = leafHash(Buffer.from('an entry before it'));
  const text = formatCheckpoint({ origin: ORIGIN, size: 2, root: nodeHash(first, leafHash(entry)) });
  const proofWith = (signer: SigningKey, times: Partial<Record<WitnessName, number>>) => {
    const cosignatures = WITNESSES.flatMap((name) => {
      const atSeconds = times[name];
      return atSeconds === undefined ? [] : [cosignNote(text, `${name}.test`, witnessKeys[name], atSeconds)];
    });
    const checkpoint = formatNote({ text, signatures: [signNote(text, ORIGIN, signer), ...cosignatures] });
    return formatProof({ index: 1, hashes: [first], checkpoint });
  };
  /** A proof that holds, and one more signature line. */
  const withLine = (signature: Parameters<typeof formatSignature>[0]) =>
    `${proofWith(log, { w1: 1, w2: 2 })}${formatSignature(signature)}`;
  const two = policy('group most 2 w1 w2 w3', 'quorum most');

  test('was seen when the last witness that the quorum needed had signed', () => {
    expect(verifyLogged(two, proofWith(log, { w1: 1_000, w2: 3_000, w3: 2_000 }), entry)).toEqual({
      origin: ORIGIN,
      index: 1,
      size: 2,
      witnesses: ['w1', 'w2', 'w3'],
      seenAtSeconds: 2_000,
    });
  });

  test('is accepted with signatures that stand twice or are by unknown keys, and under each key of a log', () => {
    for (const line of [signNote(text, ORIGIN, log), signNote(text, ORIGIN, newKey(3)), signNote('x\n', 'a.test', log)])
      expect(verifyLogged(two, withLine(line), entry).witnesses).toEqual(['w1', 'w2']);
    const rotated = policy(`log ${formatVkey(noteKey(ORIGIN, 'ed25519', newKey(3).public))}`, 'quorum w1');
    for (const signer of [log, newKey(3)])
      expect(verifyLogged(rotated, proofWith(signer, { w1: 1 }), entry).origin).toBe(ORIGIN);
  });

  test('has one plain proof, whatever was added to it by those who hold no key', () => {
    const plain = proofWith(log, { w1: 1, w2: 2 });
    const bare = plainProof(two, plain);
    for (const line of [signNote(text, ORIGIN, log), signNote(text, ORIGIN, newKey(3)), signNote('x\n', 'a.test', log)])
      expect(plainProof(two, withLine(line))).toBe(bare);
    expect(plainProof(two, plain.replace('\nindex', '\nextra AAAA\nindex'))).toBe(bare);
    expect(plainProof(two, bare)).toBe(bare);
  });

  test.each([
    ['too few witnesses', () => verifyLogged(two, proofWith(log, { w1: 1_000 }), entry)],
    ['the signature of another key', () => verifyLogged(two, proofWith(newKey(2), { w1: 1, w2: 2 }), entry)],
    ['one witness twice', () => verifyLogged(two, proofWith(log, { w1: 1 }).replace(/(— w1.*\n)/, '$1$1'), entry)],
    [
      'a line in the name of the log that does not verify',
      () => verifyLogged(two, withLine(signNote('other\n', ORIGIN, log)), entry),
    ],
    [
      'a time that the witness did not sign',
      () => verifyLogged(two, proofWith(log, { w1: 1, w2: 2 }).replace(/(— w1\.test )..../, '$1AAAA'), entry),
    ],
    [
      'the index of another entry',
      () => verifyLogged(two, proofWith(log, { w1: 1, w2: 2 }).replace('index 1', 'index 0'), entry),
    ],
    ['another entry', () => verifyLogged(two, proofWith(log, { w1: 1, w2: 2 }), Buffer.from('another'))],
    [
      'a log that the policy does not name',
      () => verifyLogged(two, proofWith(log, { w1: 1, w2: 2 }).replaceAll(ORIGIN, 'example.com/b'), entry),
    ],
  ])('is not accepted with %s', (_, verify) => {
    expect(verify).toThrow(LogRefused);
  });
});
