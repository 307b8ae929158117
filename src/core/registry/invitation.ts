import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import {
  SigningKey,
  publicKeyFromBase64,
  verifyBytes,
  workerIdOf,
  type PublicKey,
} from '../../ground/keys/signing-key.ts';
import { InvitationId, type JoinAsk } from '../catalog/announcement.ts';
import { Name } from '../../proof/receipts/fields.ts';
import type { WorkerEntry } from './worker-list.ts';

/**
 * Enrolment by invitation, for workers that are started in numbers: the keeper of the list of workers makes
 * an invitation and gives its token to the machines that start workers. Each worker makes a key of its own,
 * and asks with its announcements: it signs its id with the key of the token. Whoever reads the ask can do
 * nothing with it, since it holds for that worker alone. The keeper keeps no secret of the invitation.
 */
const DOMAIN = 'cb/join/v1\0';
const SEED_BYTES = 32;
const TOKEN = /^csj_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

/** The label by which an entry of the list names the invitation that it came by. */
export const INVITATION_LABEL = 'invitation';

/** What the keeper of the list remembers of an invitation. */
export const Invitation = z.strictObject({
  version: z.literal(1),
  id: InvitationId,
  /** The pool whose jobs its workers may answer. */
  pool: Name,
  /** Who runs its workers: quorums count operators, and a token makes nobody several of them. */
  operator: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens'),
  /** How many workers it brings in, over its whole life. */
  uses: z.number().int().min(1).max(10_000),
  issuedAt: z.iso.datetime(),
  expires: z.iso.datetime(),
  publicKey: z.string().max(64),
});
export type Invitation = z.infer<typeof Invitation>;

/** A token as a worker holds it. */
export interface JoinToken {
  readonly invitation: string;
  readonly key: SigningKey;
}

/** A new invitation, and its token, `csj_<id>_<secret>`, which is kept nowhere. */
export function newInvitation(about: Pick<Invitation, 'pool' | 'operator' | 'uses' | 'issuedAt' | 'expires'>): {
  invitation: Invitation;
  token: string;
} {
  const id = freshRandom(8).toString('hex');
  const seed = freshRandom(SEED_BYTES);
  const { raw } = new SigningKey(seed).public;
  const invitation = Invitation.parse({ version: 1, id, ...about, publicKey: raw });
  return { invitation, token: `csj_${id}_${seed.toString('base64url')}` };
}

/** The token in the text of a file. Throws CodedError `key_file_unfit`. */
export function readJoinToken(text: string): JoinToken {
  const [, invitation, seed] = TOKEN.exec(text.trim()) ?? [];
  if (invitation === undefined || seed === undefined)
    throw new CodedError('key_file_unfit', 'The join token does not have the form of one.', {
      hint: 'it is the line that countersign workers invite prints',
    });
  return { invitation, key: new SigningKey(Buffer.from(seed, 'base64url')) };
}

const signed = (invitation: string, worker: string) => Buffer.from(`${DOMAIN}${invitation}\0${worker}`);

/** The ask of a worker, by its id. */
export function askToJoin({ invitation, key }: JoinToken, worker: string): JoinAsk {
  return { invitation, signature: key.sign(signed(invitation, worker)).toString('base64') };
}

/**
 * The entry of a worker that asks in a pool, whose own signature was checked before. `invitation` is the one
 * that it names, `entries` is the list so far. Throws CodedError `enrolment_refused` with the reason.
 */
export function admit(
  { ask, worker, pool }: { readonly ask: JoinAsk; readonly worker: PublicKey; readonly pool: string },
  invitation: Invitation | undefined,
  entries: readonly WorkerEntry[],
  now: Date,
): WorkerEntry {
  const id = workerIdOf(worker);
  const refuse = (why: string) => new CodedError('enrolment_refused', why);
  if (invitation === undefined) throw refuse(`There is no invitation ${ask.invitation}, or it was withdrawn.`);
  const key = publicKeyFromBase64(invitation.publicKey);
  if (!verifyBytes(key, signed(invitation.id, id), Buffer.from(ask.signature, 'base64')))
    throw refuse('The ask is not signed with the token of its invitation.');
  if (invitation.pool !== pool) throw refuse(`The invitation is for the pool ${invitation.pool}, and not for ${pool}.`);
  if (now.getTime() >= Date.parse(invitation.expires)) throw refuse(`The invitation ended on ${invitation.expires}.`);
  if (usesOf(invitation.id, entries) >= invitation.uses)
    throw refuse(`The invitation has brought in ${invitation.uses} workers, and may bring in no more.`);
  if (entries.some((entry) => entry.id === id)) throw refuse(`${id} is already on the list.`);
  return {
    id,
    publicKey: worker.raw,
    pools: [pool],
    operator: invitation.operator,
    labels: { [INVITATION_LABEL]: invitation.id },
    gpu: null,
    enrolledAt: now.toISOString(),
    notAfter: null,
    predecessor: null,
    hardware: null,
    standing: { state: 'active' },
  };
}

/** How many workers of the list an invitation has brought in; an entry is never removed. */
export function usesOf(invitation: string, entries: readonly WorkerEntry[]): number {
  return entries.filter(({ labels }) => labels[INVITATION_LABEL] === invitation).length;
}
