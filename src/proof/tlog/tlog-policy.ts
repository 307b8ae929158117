import { openCheckpoint, type Checkpoint } from './checkpoint.ts';
import { leafHash, verifyInclusion } from './merkle.ts';
import { LogRefused, parseVkey, verifyNote, type NoteKey, type SignedNote } from './signed-note.ts';
import { parseProof } from './tlog-proof.ts';

/**
 * What a verifier trusts (C2SP tlog-policy): the keys of logs and witnesses, and how many witnesses make a quorum.
 *
 *     log <vkey> [<url>]
 *     witness <name> <vkey> [<url>]
 *     group <name> <number>|any|all <member>...
 *     quorum <name>|none
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
type Rule = (signed: ReadonlySet<string>) => boolean;

/** Throws LogRefused, with the line. */
export function parsePolicy(text: string): TlogPolicy {
  if (Buffer.byteLength(text) > MAX_POLICY_BYTES) throw new LogRefused('The policy is too long.');
  const logs: TlogPolicy['logs'][number][] = [];
  const witnesses: Witness[] = [];
  const rules = new Map<string, Rule>();
  let quorum: Rule | undefined;
  text.split('\n').forEach((line, index) => {
    const words = line.trim().split(/[ \t]+/);
    if (words[0] === '' || words[0]?.startsWith('#') === true) return;
    const refuse = (why: string) => new LogRefused(`Line ${index + 1} of the policy: ${why}`);
    const [kind, ...rest] = words;
    const define = (name: string | undefined, rule: Rule) => {
      if (name === undefined || name === 'none') throw refuse('a name is missing, or is "none".');
      if (rules.has(name)) throw refuse(`the name ${name} is there already.`);
      rules.set(name, rule);
    };
    const known = (name: string): Rule => {
      const rule = rules.get(name);
      if (rule === undefined) throw refuse(`nothing above is named ${name}.`);
      return rule;
    };
    switch (kind) {
      case 'log': {
        const [vkey = '', url, ...more] = rest;
        if (more.length > 0) throw refuse('log <vkey> [<url>]');
        const key = parseVkey(vkey);
        if (logs.some((log) => log.key.key.id === key.key.id)) throw refuse('this log is there already.');
        logs.push({ key, url });
        return;
      }
      case 'witness': {
        const [name, vkey = '', url, ...more] = rest;
        if (more.length > 0 || name === undefined) throw refuse('witness <name> <vkey> [<url>]');
        const key = parseVkey(vkey);
        if (key.algorithm !== 'cosignature/v1') throw refuse('the key of a witness makes cosignatures.');
        // One witness under two names would count twice.
        if (witnesses.some((witness) => witness.key.key.id === key.key.id))
          throw refuse('this witness is there already.');
        define(name, (signed) => signed.has(name));
        witnesses.push({ name, key, url });
        return;
      }
      case 'group': {
        const [name, wanted = '', ...members] = rest;
        if (members.length === 0 || new Set(members).size !== members.length)
          throw refuse('group <name> <number>|any|all <member>..., each member once.');
        const least = wanted === 'any' ? 1 : wanted === 'all' ? members.length : Number(wanted);
        if (!Number.isInteger(least) || least < 1 || least > members.length)
          throw refuse(`${wanted} of ${members.length} members is no number of them.`);
        const parts = members.map(known);
        define(name, (signed) => parts.filter((part) => part(signed)).length >= least);
        return;
      }
      case 'quorum': {
        const [name, ...more] = rest;
        if (quorum !== undefined || name === undefined || more.length > 0)
          throw refuse('there is one line: quorum <name>.');
        quorum = name === 'none' ? () => true : known(name);
        return;
      }
      default:
        throw refuse('it begins with none of log, witness, group, quorum.');
    }
  });
  if (logs.length === 0) throw new LogRefused('The policy names no log.');
  if (quorum === undefined)
    throw new LogRefused('The policy has no quorum line; write "quorum none" to want no witnesses.');
  return { logs, witnesses, isQuorum: quorum };
}

export interface VerifiedInclusion {
  readonly origin: string;
  readonly index: number;
  readonly size: number;
  /** The names of the witnesses whose cosignatures verify. */
  readonly witnesses: readonly string[];
  /** When the latest witness that was needed has seen the entry, in seconds since 1970; undefined without witnesses. */
  readonly seenAtSeconds: number | undefined;
}

/** Whose cosignatures on a checkpoint verify, and when each was made. */
export function cosignersOf(policy: TlogPolicy, note: SignedNote): Map<string, number> {
  return new Map(
    policy.witnesses.flatMap(({ name, key }): [string, number][] => {
      const atSeconds = verifyNote(note, key)?.atSeconds;
      return atSeconds === undefined ? [] : [[name, atSeconds]];
    }),
  );
}

/** A checkpoint of a log that the policy trusts. Throws LogRefused. */
export function openTrusted(policy: TlogPolicy, text: string): { checkpoint: Checkpoint; note: SignedNote } {
  const origin = text.slice(0, text.indexOf('\n'));
  const log = policy.logs.find(({ key }) => key.name === origin);
  if (log === undefined) throw new LogRefused('The checkpoint is of a log that the policy does not name.');
  return openCheckpoint(text, log.key);
}

/** Verifies that an entry stands in a log, as the policy wants it. Throws LogRefused with the first reason found. */
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

/** The first moment at which the cosignatures made a quorum. */
function firstQuorum(policy: TlogPolicy, cosigned: ReadonlyMap<string, number>): number | undefined {
  const inTime = [...cosigned].toSorted(([, a], [, b]) => a - b);
  const at = inTime.findIndex((_, index) => policy.isQuorum(new Set(inTime.slice(0, index + 1).map(([name]) => name))));
  return inTime[at]?.[1];
}
