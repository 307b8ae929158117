import type { FastifyInstance, InjectOptions } from 'fastify';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import { errorIn } from '../../surfaces/http/problem-error.ts';
import type { CallerApi } from '../../surfaces/http/caller-api.ts';

/**
 * This server's own routes, called within the process under the API key of a caller: scopes, limits and the
 * audit log hold as they do for a request from outside.
 */
export class OwnApi implements CallerApi {
  readonly #instance: FastifyInstance;
  readonly #authorization: string;

  constructor(instance: FastifyInstance, authorization: string) {
    this.#instance = instance;
    this.#authorization = authorization;
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
    const headers = { ...more, authorization: this.#authorization };
    const asked: InjectOptions =
      body === undefined
        ? { method, url, headers }
        : { method, url, headers: { ...headers, 'content-type': 'application/json' }, payload: JSON.stringify(body) };
    const { statusCode, rawPayload } = await this.#instance.inject(asked);
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
