import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import { KEY_BYTES } from './sealing.ts';
import type { KeyWrapping, WrappedKey } from './wrapping-key.ts';

const ANSWER_MS = 10_000;
const MAX_ANSWER_BYTES = 65_536;
/** So many times it is asked at once: a tenant's owners are named by opening a key of each. */
const AT_ONCE = 16;

const Encrypted = z.object({ data: z.object({ ciphertext: z.string().min(1).max(4_096) }) });
const Decrypted = z.object({ data: z.object({ plaintext: z.base64() }) });
const Described = z.object({ data: z.object({ latest_version: z.int().min(1) }) });
/** What the transit engine writes before the version of a key. */
const VERSION = /^vault:v(?<version>[1-9]\d{0,8}):/;

/** Where keys are sealed. */
export interface VaultPlace {
  /** Base of the server, such as `https://vault.example:8200`. */
  readonly url: string;
  /** Where its transit engine is mounted. */
  readonly mount: string;
  /** The name of the key there. */
  readonly key: string;
  readonly token: string;
}

/**
 * Keys of owners sealed by the transit engine of HashiCorp Vault or OpenBao: the key that seals never leaves
 * the server. What is sealed is the purpose and the key, so that the file of one owner's key cannot pass for
 * another's. A rotation there makes a new version, under which everything is sealed anew at the next start.
 */
export class VaultKeys implements KeyWrapping {
  readonly #place: VaultPlace;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(place: VaultPlace) {
    this.#place = place;
  }

  /** Throws CodedErrors `memory_unavailable` and `key_file_unfit`, as every method does. */
  async current(): Promise<string> {
    const { data } = Described.parse(await this.#call('GET', 'keys'));
    return this.#nameOf(data.latest_version);
  }

  async wrap(purpose: string, key: Uint8Array): Promise<WrappedKey> {
    const plaintext = Buffer.concat([Buffer.from(`${purpose}\0`), key]);
    const answer = await this.#call('POST', 'encrypt', { plaintext: plaintext.toString('base64') });
    plaintext.fill(0);
    return this.#wrapped(Encrypted.parse(answer).data.ciphertext);
  }

  async unwrap(purpose: string, { sealed }: WrappedKey): Promise<Buffer> {
    const answer = await this.#call('POST', 'decrypt', { ciphertext: sealed.toString('utf8') });
    const plain = Buffer.from(Decrypted.parse(answer).data.plaintext, 'base64');
    const head = Buffer.from(`${purpose}\0`);
    if (plain.length !== head.length + KEY_BYTES || !plain.subarray(0, head.length).equals(head))
      throw new CodedError('key_file_unfit', 'A key of the memories was sealed for another place.', {
        hint: 'put the folder of keys back as it was',
      });
    return plain.subarray(head.length);
  }

  isOwn({ under }: WrappedKey): boolean {
    return under.startsWith(this.#prefix);
  }

  /** The server seals it anew, and the key is not seen here. */
  async rewrap(_purpose: string, { sealed }: WrappedKey): Promise<WrappedKey> {
    const answer = await this.#call('POST', 'rewrap', { ciphertext: sealed.toString('utf8') });
    return this.#wrapped(Encrypted.parse(answer).data.ciphertext);
  }

  get #prefix(): string {
    return `${this.#place.mount}/${this.#place.key}:`;
  }

  #nameOf(version: number | string): string {
    return `${this.#prefix}${version}`;
  }

  #wrapped(ciphertext: string): WrappedKey {
    const version = VERSION.exec(ciphertext)?.groups?.['version'];
    if (version === undefined) throw unavailable(new Error('it answered no ciphertext'));
    return { under: this.#nameOf(version), sealed: Buffer.from(ciphertext) };
  }

  async #call(method: 'GET' | 'POST', action: string, body?: Record<string, string>): Promise<unknown> {
    const { url, mount, key, token } = this.#place;
    await this.#enter();
    try {
      const response = await fetch(`${url}/v1/${mount}/${action}/${encodeURIComponent(key)}`, {
        method,
        headers: { 'content-type': 'application/json', 'x-vault-token': token, 'x-vault-request': 'true' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(ANSWER_MS),
        redirect: 'error',
      }).catch((cause: unknown) => {
        throw unavailable(cause);
      });
      const bytes = await readBounded(response, MAX_ANSWER_BYTES);
      if (response.status >= 400 && response.status < 500 && response.status !== 429) throw refused(response.status);
      if (!response.ok || bytes === undefined) throw unavailable(new Error(`it answered ${response.status}`));
      return JSON.parse(bytes.toString('utf8'));
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < AT_ONCE) this.#running += 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Whoever waits longest takes the place that becomes free. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

function unavailable(cause: unknown): CodedError {
  return new CodedError(
    'memory_unavailable',
    'The server that seals the keys of memories does not answer; try again.',
    {
      cause,
      headers: { 'retry-after': '1' },
    },
  );
}

function refused(status: number): CodedError {
  return new CodedError('key_file_unfit', `The server that seals the keys of memories refuses with ${status}.`, {
    hint: 'its token needs encrypt, decrypt, rewrap and read of the key that is named, and the key must be there',
  });
}
