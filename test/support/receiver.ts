import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A message as its receiver sees it. */
export interface Message {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly data: { job: string; state: string; model: string };
  readonly type: string;
}

type Answer = { readonly status: number; readonly headers?: Record<string, string> } | 'hang';

/** A receiver on loopback that answers as it is told, once that is known. */
export class Receiver implements AsyncDisposable {
  readonly messages: Message[] = [];
  answer: (message: Message, number: number) => Answer | Promise<Answer> = () => ({ status: 204 });
  #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Receiver> {
    const server = createServer();
    const receiver = new Receiver(server);
    server.on('request', (request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const body = Buffer.concat(pieces).toString();
        const { type, data } = JSON.parse(body) as { type: string; data: Message['data'] };
        const message = { headers: request.headers, body, type, data };
        receiver.messages.push(message);
        void Promise.resolve(receiver.answer(message, receiver.messages.length)).then((answer) => {
          if (answer !== 'hang') response.writeHead(answer.status, answer.headers).end('thank you');
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook?x=1`;
  }

  of(job: string): Message[] {
    return this.messages.filter(({ data }) => data.job === job);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
