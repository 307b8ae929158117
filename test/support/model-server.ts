import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';

/** One turn of a chat, as the engine sends it. */
export interface Turn {
  readonly role: string;
  readonly content: string;
}

/**
 * A server of one model that speaks as much of the OpenAI API as the engine asks for, and answers what the
 * test wants when the test wants: a prompt `words N` is answered by N words at once; `wait` by one word, and
 * the rest when it is let go; `echo` by a refusal that repeats the caller's authorization. A chat is answered
 * by what `chat` says.
 */
export class ModelServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #waiting = new Set<ServerResponse>();
  /** How many answers were broken off by their caller. */
  brokenOff = 0;
  /** What a chat is answered; where it throws, it is refused. */
  chat: (turns: readonly Turn[]) => string = () => 'so be it';

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<ModelServer> {
    const server = createServer();
    const own = new ModelServer(server);
    server.on('request', (request, response) => {
      let text = '';
      request.on('data', (piece: Buffer) => (text += piece.toString()));
      request.on('end', () => own.#answer(request, text, response));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return own;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  /** How many answers wait to be let go. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Ends every answer that waits. */
  letGo(): void {
    for (const response of this.#waiting) end(response, 'at last');
    this.#waiting.clear();
  }

  /** The entry of the catalog for a model of this server. */
  model(name: string, pool: string, tasks = ['completion']) {
    const served = { engine: 'openai', sha256: sha256Hex('toy'), baseUrl: this.url, remoteModel: 'toy' };
    return { name, pool, tasks, parallel: 4, ...served };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #said(turns: readonly Turn[]): string | undefined {
    try {
      return this.chat(turns);
    } catch {
      return undefined;
    }
  }

  #answer({ url, headers }: IncomingMessage, body: string, response: ServerResponse): void {
    if (url === '/v1/models') {
      response.end(JSON.stringify({ data: [{ id: 'toy' }] }));
      return;
    }
    const { prompt = '', messages } = JSON.parse(body) as { prompt?: string; messages?: Turn[] };
    if (messages !== undefined) {
      const content = this.#said(messages);
      if (content === undefined) {
        response.writeHead(400).end(JSON.stringify({ error: { message: 'No.' } }));
        return;
      }
      const delta = { role: 'assistant', content };
      response.write(`data: ${JSON.stringify({ choices: [{ delta, finish_reason: 'stop' }] })}\n\n`);
      response.end('data: [DONE]\n\n');
      return;
    }
    const [word, count] = prompt.split(' ');
    if (word === 'echo') {
      const message = `No: ${headers.authorization ?? 'nobody'}`;
      response.writeHead(400).end(JSON.stringify({ error: { message, key: headers.authorization } }));
      return;
    }
    if (word !== 'wait') {
      for (let at = 0; at < Number(count); at += 1) send(response, `word${at} `);
      end(response, 'end');
      return;
    }
    send(response, 'wait ');
    this.#waiting.add(response);
    response.once('close', () => {
      if (!response.writableEnded) this.brokenOff += 1;
      this.#waiting.delete(response);
    });
  }
}

function send(response: ServerResponse, text: string, finish: string | null = null): void {
  response.write(`data: ${JSON.stringify({ choices: [{ text, finish_reason: finish }] })}\n\n`);
}

function end(response: ServerResponse, text: string): void {
  send(response, text, 'stop');
  response.end('data: [DONE]\n\n');
}
