import { messageOf } from '../../ground/errors/coded-error.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import type { LogTree } from './log-tree.ts';
import {
  LogRefused,
  formatNote,
  inOrder,
  parseNote,
  verifyNote,
  type NoteSignature,
  type SignedNote,
} from './signed-note.ts';
import type { TlogPolicy, Witness } from './tlog-policy.ts';

const WITNESS_MS = 5_000;
const MAX_ANSWER_BYTES = 4_096;

/**
 * Asks the witnesses of a policy to cosign checkpoints (C2SP tlog-witness, `add-checkpoint`). It remembers
 * the size that each has signed; where it does not know the size, the witness answers with it. One caller at
 * a time.
 */
export class WitnessClient {
  readonly #policy: TlogPolicy;
  readonly #onFailure: () => void;
  readonly #signedSizes = new Map<string, number>();

  /** `onFailure` is told of each witness that did not sign, also where a quorum did. */
  constructor(policy: TlogPolicy, onFailure: () => void = () => undefined) {
    this.#policy = policy;
    this.#onFailure = onFailure;
  }

  /**
   * Returns the checkpoint with the cosignatures that arrived. Throws LogRefused, with the reason of each
   * witness, where they are not a quorum: then the checkpoint must not be published.
   */
  async cosign(note: SignedNote, tree: LogTree): Promise<string> {
    const why: string[] = [];
    const answers = await Promise.all(
      this.#policy.witnesses.map(async (witness) => {
        try {
          return { name: witness.name, signature: await this.#ask(witness, note, tree) };
        } catch (error) {
          why.push(`${witness.name}: ${messageOf(error).slice(0, 120)}`);
          this.#onFailure();
          return undefined;
        }
      }),
    );
    const came = answers.filter((answer) => answer !== undefined);
    if (!this.#policy.isQuorum(new Set(came.map(({ name }) => name))))
      throw new LogRefused(`Too few witnesses have signed ${tree.size} entries (${why.join('; ')}).`);
    const cosignatures = inOrder(came.map(({ signature }) => signature));
    return formatNote({ text: note.text, signatures: [...note.signatures, ...cosignatures] });
  }

  async #ask(witness: Witness, note: SignedNote, tree: LogTree): Promise<NoteSignature> {
    if (witness.url === undefined) throw new LogRefused('the policy gives no address for it');
    let oldSize = this.#signedSizes.get(witness.name) ?? 0;
    // The second attempt uses the size with which the witness answered the first.
    for (let attempt = 1; ; attempt += 1) {
      const proof = await tree.consistency(oldSize);
      const body = `old ${oldSize}\n${proof.map((hash) => `${hash.toString('base64')}\n`).join('')}\n${formatNote(note)}`;
      const response = await fetch(`${witness.url.replace(/\/$/, '')}/add-checkpoint`, {
        method: 'POST',
        body,
        redirect: 'error',
        signal: AbortSignal.timeout(WITNESS_MS),
      }).catch((cause: unknown) => {
        throw new LogRefused('it does not answer', { cause });
      });
      const answer = (await readBounded(response, MAX_ANSWER_BYTES))?.toString('utf8');
      if (answer === undefined) throw new LogRefused('its answer is too long');
      if (response.status === 409 && attempt === 1 && /^\d{1,16}\n$/.test(answer)) {
        oldSize = Number(answer);
        if (oldSize > tree.size) throw new LogRefused(`it has signed ${oldSize} entries already`);
        continue;
      }
      if (response.status !== 200) throw new LogRefused(`it answers ${response.status}: ${answer.trim()}`);
      const cosigned = parseNote(`${note.text}\n${answer}`);
      const [signature] = cosigned.signatures;
      if (signature === undefined || verifyNote(cosigned, witness.key) === undefined)
        throw new LogRefused('its cosignature does not verify');
      this.#signedSizes.set(witness.name, tree.size);
      return signature;
    }
  }
}
