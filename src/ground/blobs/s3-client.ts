import { setTimeout as sleep } from 'node:timers/promises';
import { AwsClient } from 'aws4fetch';
import { sha256Hex } from './sha256.ts';
import { storageFull, storageUnavailable } from './storage-error.ts';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { readSecretFile } from '../keys/key-file.ts';
import { errorCodeOf } from './s3-answers.ts';

/** How a server of S3 is reached. */
export interface S3Settings {
  readonly endpoint: string;
  readonly region: string;
  /** File with the id of the access key, its secret and a session token, if any: a line for each. */
  readonly keyFile: string;
  /** How long a server may say nothing (ms) before a request is asked again. */
  readonly patienceMs?: number;
}

/** What is asked of an object or a bucket, by its path below the endpoint. */
export interface Asked {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Codes of errors that are answers here: undefined is given for them. */
  readonly expects?: readonly string[];
}

/** What a server answers, whole. */
export interface Answered {
  readonly headers: Headers;
  readonly status: number;
  readonly bytes: Buffer;
  /** How often it was asked: the try before may have had its effect. */
  readonly tries: number;
}

const TRIES = 4;
const FIRST_PAUSE_MS = 100;
const PATIENCE_MS = 10_000;
/** A slow line may take so long for each byte (ms) on top. */
const MS_A_BYTE = 1 / 250;
const MOST_TEXT = 8 * 1_048_576;
const MOST_ERROR = 65_536;
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Others write to the same object at this moment. */
const PASSING_CODES = new Set(['ConditionalRequestConflict', 'OperationAborted', 'RequestTimeout', 'SlowDown']);
const FULL_CODES = new Set(['QuotaExceeded', 'EntityTooLargeForQuota', 'XMinioStorageFull', 'InsufficientStorage']);

/** What is worth another try: the network, or a server that says that it is busy or broken. */
class Passing extends Error {}

/**
 * Asks a server of S3: signs each request, asks again what failed in passing, a few times and with growing
 * pauses, and turns what lasts into CodedErrors `storage_unavailable` and `storage_full`. Every request may
 * come twice; whoever asks must be able to bear that. A changed file of keys counts from the next refusal on.
 */
export class S3Client {
  readonly #settings: S3Settings;
  #keys: string | undefined;
  #signer: AwsClient | undefined;

  /** Throws CodedError `key_file_unfit`. */
  constructor(settings: S3Settings) {
    this.#settings = settings;
    this.#keys = readKeys(settings.keyFile);
  }

  /**
   * The answer, with a body of at most `most` bytes; undefined where it is one of the errors expected. Throws
   * CodedErrors `storage_unavailable` and `storage_full`.
   */
  async ask(asked: Asked, most = MOST_TEXT): Promise<Answered | undefined> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#once(asked, most, tries);
      } catch (error) {
        if (!(error instanceof Passing)) throw error;
        if (tries === TRIES) throw storageUnavailable(`The object storage does not answer: ${error.message}.`, error);
        await pauseAfter(tries);
      }
    }
  }

  async #once(asked: Asked, most: number, tries: number): Promise<Answered | undefined> {
    const patience = new Patience(this.#settings.patienceMs ?? PATIENCE_MS);
    try {
      const request = await this.#signed(asked, patience.signal);
      patience.renew((asked.body?.length ?? 0) * MS_A_BYTE);
      const response = await fetch(request);
      patience.renew();
      const bytes = await bodyOf(response, response.ok ? most : MOST_TEXT, patience);
      const { headers, status } = response;
      // Some operations fail after they have begun to say 200.
      const code = errorCodeOf(bytes.length > MOST_ERROR ? '' : bytes.toString('utf8'));
      if (response.ok && (code === undefined || asked.method === 'GET')) return { headers, status, bytes, tries };
      if (code !== undefined && asked.expects?.includes(code) === true) return undefined;
      throw this.#failure(response.ok ? 500 : status, code ?? '', tries);
    } catch (error) {
      if (error instanceof CodedError || error instanceof Passing) throw error;
      // Whatever fetch throws is of the network: what we ask is well formed.
      throw new Passing(patience.signal.aborted ? 'it is too slow' : reasonOf(error), { cause: error });
    } finally {
      patience.end();
    }
  }

  /** What an answer other than success comes to. */
  #failure(status: number, code: string, tries: number): Error {
    const said = `it says ${status}${code === '' ? '' : ` ${code}`}`;
    if (FULL_CODES.has(code) || status === 507) return storageFull(`The object storage is full: ${said}.`);
    if (PASSING.has(status) || PASSING_CODES.has(code)) return new Passing(said);
    if (status === 401 || status === 403) {
      // The keys may have been changed since they were read.
      const before = this.#keys;
      this.#forgetKeys();
      if (tries === 1 && before !== readKeys(this.#settings.keyFile)) return new Passing(said);
      return storageUnavailable(
        `The object storage refuses this role: ${said}; the rights of its key are those of docs/object-storage.md.`,
      );
    }
    return storageUnavailable(`The object storage cannot be used: ${said}.`);
  }

  #forgetKeys(): void {
    this.#keys = undefined;
    this.#signer = undefined;
  }

  #signed({ method, path, query = {}, headers = {}, body }: Asked, signal: AbortSignal): Promise<Request> {
    this.#keys ??= readKeys(this.#settings.keyFile);
    const [accessKeyId = '', secretAccessKey = '', sessionToken] = this.#keys.split(/\s+/);
    this.#signer ??= new AwsClient({
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: 's3',
      region: this.#settings.region,
    });
    const url = new URL(`${this.#settings.endpoint.replace(/\/$/, '')}/${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return this.#signer.sign(url.href, {
      method,
      // What is signed is what was meant to be sent: a server refuses a body that was changed on its way.
      headers: { ...headers, 'x-amz-content-sha256': sha256Hex(body ?? '') },
      redirect: 'error',
      signal,
      ...(body === undefined ? {} : { body: Buffer.from(body) }),
    });
  }
}

/** Reads a body to its end, of at most so many bytes. */
async function bodyOf(response: Response, most: number, patience: Patience): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const body: AsyncIterable<Uint8Array> | null = response.body;
  for await (const piece of body ?? []) {
    patience.renew();
    length += piece.length;
    if (length > most) throw new Passing('it sends more than was asked for');
    pieces.push(piece);
  }
  const announced = response.headers.get('content-length');
  if (announced !== null && Number(announced) !== length) throw new Passing('it sends less than it announces');
  return Buffer.concat(pieces);
}

/** Ends a request on which nothing has come for too long. */
class Patience {
  readonly #ms: number;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  renew(moreMs = 0): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#ms + moreMs);
  }

  end(): void {
    clearTimeout(this.#timer);
    // What of the answer was not read holds no connection.
    this.#controller.abort();
  }
}

/** Waits before the next try: longer each time, and not as long as others that failed at the same moment. */
async function pauseAfter(tries: number): Promise<void> {
  await sleep(FIRST_PAUSE_MS * 2 ** (tries - 1) * (0.5 + Math.random()));
}

function readKeys(file: string): string {
  return readSecretFile(file).reveal().trim();
}

function reasonOf(error: unknown): string {
  return messageOf(error instanceof Error && error.cause !== undefined ? error.cause : error);
}
