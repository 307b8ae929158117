import { request } from 'node:http';
import { z } from 'zod';
import { ERROR_CATALOG, type ErrorCode } from '../../ground/errors/catalog.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { MEMORY_CALLS, type Answer, type Ask, type CallName } from './memory-calls.ts';
import { MAX_CALL_BYTES } from './memory-server.ts';

/** The first call of an installation makes the database, which takes a slow machine half a minute. */
const ANSWER_MS = 120_000;

const Refusal = z.object({
  code: z.string().refine((code): code is ErrorCode => Object.hasOwn(ERROR_CATALOG, code)),
  message: z.string(),
  hint: z.string().optional(),
  param: z.string().optional(),
});

/** The role `memory` as other processes reach it, at its Unix socket. Any number of calls may run at once. */
export class MemoryClient {
  readonly #socket: string | undefined;

  /** Without a socket every call is refused. */
  constructor(socket: string | undefined) {
    this.#socket = socket;
  }

  /** Whether this installation keeps memories at all. */
  get isThere(): boolean {
    return this.#socket !== undefined;
  }

  /**
   * Throws the CodedError that the memory answers, and `memory_unavailable` where it does not answer or there
   * is none.
   */
  async call<Name extends CallName>(name: Name, ask: Ask<Name>): Promise<Answer<Name>> {
    if (this.#socket === undefined)
      throw new CodedError('memory_unavailable', 'This installation keeps no memories.', {
        hint: 'its operator sets COUNTERSIGN_MEMORY_SOCKET',
      });
    const { status, body } = await post(this.#socket, name, Buffer.from(JSON.stringify(ask))).catch(
      (cause: unknown) => {
        throw unavailable(cause);
      },
    );
    if (status === 200) return MEMORY_CALLS[name].answer.parse(body) as Answer<Name>;
    const refusal = Refusal.safeParse(body);
    if (!refusal.success) throw unavailable(refusal.error);
    const { code, message, hint, param } = refusal.data;
    throw new CodedError(code, message, {
      ...(hint === undefined ? {} : { hint }),
      ...(param === undefined ? {} : { param }),
    });
  }
}

function unavailable(cause: unknown): CodedError {
  return new CodedError('memory_unavailable', 'The memory does not respond at the moment; try again.', {
    cause,
    headers: { 'retry-after': '1' },
  });
}

function post(socketPath: string, name: string, bytes: Buffer): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': bytes.length };
    const options = { socketPath, path: `/${name}`, method: 'POST', headers, agent: false, timeout: ANSWER_MS };
    const sent = request(options, (response) => {
      const pieces: Buffer[] = [];
      let length = 0;
      response.on('data', (piece: Buffer) => {
        length += piece.length;
        if (length > MAX_CALL_BYTES) sent.destroy(new Error('The answer is too long.'));
        else pieces.push(piece);
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(pieces).toString('utf8')) });
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
    sent.on('timeout', () => sent.destroy(new Error('No answer in time.')));
    sent.on('error', reject);
    sent.end(bytes);
  });
}
