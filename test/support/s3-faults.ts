import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What goes wrong with one request. */
export type Fault =
  /** It is answered with this status and an error of S3 with this code, and never reaches the server. */
  | { readonly kind: 'answer'; readonly status: number; readonly code: string }
  /** It is never answered. */
  | { readonly kind: 'silent' }
  /** The server does it, and the connection breaks before the answer. */
  | { readonly kind: 'unanswered' }
  /** The connection breaks in the middle of the body of the answer. */
  | { readonly kind: 'torn' }
  /** The body of the answer ends early, and its headers say so too. */
  | { readonly kind: 'short' };

/** What passes by: the method, and the path with its query. */
export interface Passing {
  readonly method: string;
  readonly path: string;
}

/**
 * Stands between our roles and a server of S3, and does to each request what the test says. It hands on the
 * headers as they are, the host among them, so that signatures hold.
 */
export class S3Faults implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #held = new Set<ServerResponse>();
  /** Decides what goes wrong with a request; nothing where it returns undefined. */
  decide: (passing: Passing) => Fault | undefined = () => undefined;
  /** Faults that happened, by kind. */
  readonly happened = new Map<string, number>();
  readonly passed: Passing[] = [];

  private constructor(url: string, server: Server) {
    this.url = url;
    this.#server = server;
  }

  static async start(target: string): Promise<S3Faults> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const faults = new S3Faults(`http://127.0.0.1:${port}`, server);
    server.on('request', (asked, answer) => faults.#serve(target, asked, answer));
    return faults;
  }

  /** Every request from now on; none with undefined. What is held without an answer breaks. */
  all(fault: Fault | undefined): void {
    this.decide = () => fault;
    for (const answer of this.#held) answer.destroy();
  }

  /** The first so many requests that are meant. */
  first(count: number, fault: Fault, meant: (passing: Passing) => boolean = () => true): void {
    let left = count;
    this.decide = (passing) => {
      if (left === 0 || !meant(passing)) return undefined;
      left -= 1;
      return fault;
    };
  }

  #serve(target: string, asked: IncomingMessage, answer: ServerResponse): void {
    const passing = { method: asked.method ?? '', path: asked.url ?? '' };
    this.passed.push(passing);
    const fault = this.decide(passing);
    if (fault !== undefined) this.happened.set(fault.kind, (this.happened.get(fault.kind) ?? 0) + 1);
    answer.on('error', () => undefined);
    if (fault?.kind === 'silent') {
      this.#held.add(answer);
      asked.resume();
      return;
    }
    if (fault?.kind === 'answer') {
      asked.resume();
      asked.on('end', () => {
        answer.writeHead(fault.status, { 'content-type': 'application/xml' });
        answer.end(`<?xml version="1.0"?><Error><Code>${fault.code}</Code></Error>`);
      });
      return;
    }
    this.#hand(target, asked, answer, fault);
  }

  #hand(target: string, asked: IncomingMessage, answer: ServerResponse, fault: Fault | undefined): void {
    const { hostname, port } = new URL(target);
    const options = { hostname, port, method: asked.method, path: asked.url, headers: asked.headers };
    const onward = request(options, (reply) => {
      const pieces: Buffer[] = [];
      reply.on('data', (piece: Buffer) => pieces.push(piece));
      reply.on('end', () => {
        const body = Buffer.concat(pieces);
        const half = body.subarray(0, Math.floor(body.length / 2));
        if (fault?.kind === 'unanswered') {
          answer.destroy();
          return;
        }
        const { 'transfer-encoding': _, ...headers } = reply.headers;
        const sent = fault?.kind === 'short' ? half : body;
        answer.writeHead(reply.statusCode ?? 502, { ...headers, 'content-length': sent.length });
        if (fault?.kind === 'torn') answer.write(half, () => answer.destroy());
        else answer.end(sent);
      });
    });
    onward.on('error', () => answer.destroy());
    asked.pipe(onward);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
