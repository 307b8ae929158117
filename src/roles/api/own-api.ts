import { AsyncLocalStorage } from 'node:async_hooks';
import type { FastifyInstance, InjectOptions } from 'fastify';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import { errorIn } from '../../surfaces/http/problem-error.ts';
import type { CallerApi } from '../../surfaces/http/caller-api.ts';
import type { Caller } from '../../surfaces/tenants/api-key.ts';

/** Who acts, as things are when it is called; undefined where they may act no more. */
export type HolderNow = () => Promise<Caller | undefined>;

const within = new AsyncLocalStorage<HolderNow>();

/** For whom this process asks itself; undefined in a request from outside, whatever it says. */
export const holderWithin = (): HolderNow | undefined => within.getStore();

/**
 * This server's own routes, called within the process under the API key of a caller, or for one who was let
 * in by other means: scopes, limits and the audit log hold as they do for a request from outside.
 */
export class OwnApi implements CallerApi {
  readonly #instance: FastifyInstance;
  readonly #by: string | HolderNow;

  /** `by` is a header `Authorization`, or says who acts. */
  constructor(instance: FastifyInstance, by: string | HolderNow) {
    this.#instance = instance;
    this.#by = by;
  }

  async json(path: string, method: 'GET' | 'POST' | 'PATCH' | 'DELETE' = 'GET', body?: unknown): Promise<unknown> {
    return JSON.parse((await this.#send(path, method, body)).toString('utf8'));
  }

  bytes(path: string): Promise<Uint8Array> {
    return this.#send(path, 'GET');
  }

  async submit(body: unknown, { waitS }: { waitS?: number | undefined }): Promise<JobDocument> {
    const headers = waitS === undefined ? {} : { prefer: `wait=${waitS}` };
    return JSON.parse((await this.#send('/v1/jobs', 'POST', body, headers)).toString('utf8')) as JobDocument;
  }

  async #send(
    url: string,
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    body?: unknown,
    more: Record<string, string> = {},
  ): Promise<Buffer> {
    const by = this.#by;
    const headers = typeof by === 'string' ? { ...more, authorization: by } : more;
    const asked: InjectOptions =
      body === undefined
        ? { method, url, headers }
        : { method, url, headers: { ...headers, 'content-type': 'application/json' }, payload: JSON.stringify(body) };
    const ask = async () => await this.#instance.inject(asked);
    const { statusCode, rawPayload } = await (typeof by === 'string' ? ask() : within.run(by, ask));
    if (statusCode >= 200 && statusCode < 300) return rawPayload;
    throw errorIn(jsonIn(rawPayload), statusCode);
  }
}

function jsonIn(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
