import { openCheckpoint, type Checkpoint } from './checkpoint.ts';
import { leafHash, verifyInclusion } from './merkle.ts';
import {
  LogRefused,
  formatNote,
  inOrder,
  readVkey,
  verifyNote,
  verifySignature,
  type NoteKey,
  type SignedNote,
} from './signed-note.ts';
import { formatProof, parseProof } from './tlog-proof.ts';

/**
 * What a verifier trusts (C2SP tlog-policy): the keys of logs and witnesses, and how many witnesses make a
 * quorum.
 *
 *     log <vkey> [<url>]            two of one name where the key of a log was rotated
 *     witness <name> <vkey> [<url>]
 *     group <name> <number>|any|all <member>...
 *     quorum <name>|none
 *
 * Keys of kinds that are not known here, as those of ML-DSA, are passed over: such a witness never counts as
 * one that has signed.
 */
export interface TlogPolicy {
  readonly logs: readonly { readonly key: NoteKey; readonly url: string | undefined }[];
  readonly witnesses: readonly Witness[];
  /** Whether a quorum has signed, given the witnesses that have. */
  readonly isQuorum: (signed: ReadonlySet<string>) => boolean;
}

export interface Witness {
  /** Its name in the policy, which need not be that of its key. */
  readonly name: string;
  readonly key: NoteKey;
  readonly url: string | undefined;
}

const MAX_POLICY_BYTES = 65_536;
/** Whether the witnesses that signed satisfy what a name stands for. */
type Rule = (signed: ReadonlySet<string>) => boolean;

/**
 * The policy that a text describes. Throws LogRefused with the line at fault, or that no log or quorum is
 * named.
 */
export function parsePolicy(text: string): TlogPolicy {
  return draftOf(text).policy();
}

/**
 * The logs that a text names, for a witness: it watches logs and asks nobody for cosignatures, so that the
 * text needs no quorum. Throws LogRefused with the line at fault, or that no log is named.
 */
export function parseLogs(text: string): TlogPolicy['logs'] {
  return draftOf(text).logs();
}

function draftOf(text: string): PolicyDraft {
  if (Buffer.byteLength(text) > MAX_POLICY_BYTES) throw new LogRefused('The policy is too long.');
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text))
    throw new LogRefused('The policy holds control characters: only tabs and line feeds may stand in it.');
  const draft = new PolicyDraft();
  text.split('\n').forEach((line, index) => {
    const words = line.split(/[ \t]+/).filter((word) => word !== '');
    if (words[0] === undefined || words[0].startsWith('#')) return;
    const why = draft.add(words);
    if (why !== undefined) throw new LogRefused(`Line ${index + 1} of the policy: ${why}`);
  });
  return draft;
}

/** What the lines so far have said. A line can name only what stands above it. */
class PolicyDraft {
  readonly #logs: TlogPolicy['logs'][number][] = [];
  readonly #witnesses: Witness[] = [];
  readonly #rules = new Map<string, Rule>();
  readonly #members = new Set<string>();
  /** Keys of unknown kinds, so that none of them stands twice either. */
  readonly #unread = new Set<string>();
  #quorum: Rule | undefined;

  /** Adds a line; returns why it is refused, or undefined. Throws LogRefused for a malformed key. */
  add([kind, ...rest]: readonly string[]): string | undefined {
    switch (kind) {
      case 'log':
        return this.#addLog(rest);
      case 'witness':
        return this.#addWitness(rest);
      case 'group':
        return this.#addGroup(rest);
      case 'quorum':
        return this.#setQuorum(rest);
      default:
        return 'it begins with none of log, witness, group, quorum.';
    }
  }

  logs(): TlogPolicy['logs'] {
    if (this.#logs.length === 0) throw new LogRefused('The policy names no log.');
    return this.#logs;
  }

  policy(): TlogPolicy {
    const logs = this.logs();
    if (this.#quorum === undefined)
      throw new LogRefused('The policy has no quorum line; write "quorum none" to want no witnesses.');
    return { logs, witnesses: this.#witnesses, isQuorum: this.#quorum };
  }

  #addLog([vkey = '', url, ...more]: readonly string[]): string | undefined {
    if (more.length > 0) return 'log <vkey> [<url>]';
    const key = readVkey(vkey);
    if (key === undefined) return this.#passOver(vkey, 'log');
    if (key.algorithm !== 'ed25519') return 'the key of a log signs checkpoints, and no cosignatures.';
    if (this.#logs.some((log) => log.key.key.id === key.key.id)) return 'this log is there already.';
    this.#logs.push({ key, url });
    return undefined;
  }

  #addWitness([name, vkey = '', url, ...more]: readonly string[]): string | undefined {
    if (more.length > 0 || name === undefined) return 'witness <name> <vkey> [<url>]';
    const key = readVkey(vkey);
    if (key === undefined) return this.#passOver(vkey, 'witness') ?? this.#define(name, () => false);
    if (key.algorithm !== 'cosignature/v1') return 'the key of a witness makes cosignatures.';
    // One witness under two names would count twice.
    if (this.#witnesses.some((witness) => witness.key.key.id === key.key.id)) return 'this witness is there already.';
    this.#witnesses.push({ name, key, url });
    return this.#define(name, (signed) => signed.has(name));
  }

  #passOver(vkey: string, kind: 'log' | 'witness'): string | undefined {
    const key = vkey.slice(vkey.lastIndexOf('+'));
    if (this.#unread.has(`${kind}${key}`)) return `this ${kind} is there already.`;
    this.#unread.add(`${kind}${key}`);
    return undefined;
  }

  #addGroup([name, wanted = '', ...members]: readonly string[]): string | undefined {
    if (members.length === 0 || new Set(members).size !== members.length)
      return 'group <name> <number>|any|all <member>..., each member once.';
    const least = wanted === 'any' ? 1 : wanted === 'all' ? members.length : decimal(wanted);
    if (least < 1 || least > members.length) return `${wanted} of ${members.length} members is no number of them.`;
    const rules: Rule[] = [];
    for (const member of members) {
      const rule = this.#rules.get(member);
      if (rule === undefined) return nothingNamed(member);
      // So each witness counts in one way only.
      if (this.#members.has(member)) return `${member} is a member of a group already.`;
      this.#members.add(member);
      rules.push(rule);
    }
    return this.#define(name, (signed) => rules.filter((rule) => rule(signed)).length >= least);
  }

  #setQuorum([name, ...more]: readonly string[]): string | undefined {
    if (this.#quorum !== undefined || name === undefined || more.length > 0) return 'there is one line: quorum <name>.';
    this.#quorum = name === 'none' ? () => true : this.#rules.get(name);
    return this.#quorum === undefined ? nothingNamed(name) : undefined;
  }

  #define(name: string | undefined, rule: Rule): string | undefined {
    if (name === undefined || name === 'none') return 'a name is missing, or is "none".';
    if (this.#rules.has(name)) return `the name ${name} is there already.`;
    this.#rules.set(name, rule);
    return undefined;
  }
}

/** The number in decimal digits; 0 for anything else. */
const decimal = (text: string) => (/^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0);
const nothingNamed = (name: string) => `nothing above is named ${name}.`;

export interface VerifiedInclusion {
  readonly origin: string;
  readonly index: number;
  readonly size: number;
  /** The names of the witnesses whose cosignatures verify. */
  readonly witnesses: readonly string[];
  /** When a quorum of witnesses had seen the entry, in seconds since 1970; undefined without witnesses. */
  readonly seenAtSeconds: number | undefined;
}

/**
 * The names of the witnesses whose cosignatures on a checkpoint verify, and the time of each in seconds since
 * 1970.
 */
export function cosignersOf(policy: TlogPolicy, note: SignedNote): Map<string, number> {
  return new Map(
    policy.witnesses.flatMap(({ name, key }): [string, number][] => {
      const atSeconds = verifyNote(note, key)?.atSeconds;
      return atSeconds === undefined ? [] : [[name, atSeconds]];
    }),
  );
}

/**
 * The checkpoint in a note, once the signature of a log that the policy trusts verifies. Throws LogRefused.
 */
export function openTrusted(policy: TlogPolicy, text: string): { checkpoint: Checkpoint; note: SignedNote } {
  const origin = text.slice(0, text.indexOf('\n'));
  const keys = policy.logs.map(({ key }) => key);
  if (!keys.some(({ name }) => name === origin))
    throw new LogRefused('The checkpoint is of a log that the policy does not name.');
  return openCheckpoint(text, ...keys);
}

/**
 * Verifies that an entry is in a log as the policy demands. Throws LogRefused with the first reason found.
 */
export function verifyLogged(policy: TlogPolicy, proofText: string, entry: Uint8Array): VerifiedInclusion {
  const proof = parseProof(proofText);
  const { checkpoint, note } = openTrusted(policy, proof.checkpoint);
  if (!verifyInclusion(leafHash(entry), proof.index, checkpoint, proof.hashes))
    throw new LogRefused('The proof does not lead from the entry to the root of the checkpoint.');
  const cosigned = cosignersOf(policy, note);
  if (!policy.isQuorum(new Set(cosigned.keys())))
    throw new LogRefused('Too few of the witnesses that the policy wants have signed the checkpoint.');
  return {
    origin: checkpoint.origin,
    index: proof.index,
    size: checkpoint.size,
    witnesses: [...cosigned.keys()],
    seenAtSeconds: firstQuorum(policy, cosigned),
  };
}

/**
 * A proof as a receipt holds it: without extra data, its checkpoint signed by keys of the policy alone, the
 * log's before the witnesses', each line once and in order. Throws LogRefused where the proof is none.
 */
export function plainProof(policy: TlogPolicy, proofText: string): string {
  const proof = parseProof(proofText);
  const { checkpoint, note } = openTrusted(policy, proof.checkpoint);
  const by = (keys: readonly NoteKey[]) =>
    inOrder(
      keys.flatMap((key) => note.signatures.find((one) => verifySignature(note.text, one, key) !== undefined) ?? []),
    );
  const logs = policy.logs.flatMap(({ key }) => (key.name === checkpoint.origin ? [key] : []));
  const signatures = [...by(logs), ...by(policy.witnesses.map(({ key }) => key))];
  return formatProof({ ...proof, checkpoint: formatNote({ text: note.text, signatures }) });
}

/** The first moment at which the cosignatures made a quorum. */
function firstQuorum(policy: TlogPolicy, cosigned: ReadonlyMap<string, number>): number | undefined {
  const inTime = [...cosigned].toSorted(([, a], [, b]) => a - b);
  const at = inTime.findIndex((_, index) => policy.isQuorum(new Set(inTime.slice(0, index + 1).map(([name]) => name))));
  return inTime[at]?.[1];
}
