import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ToyModel, detokenize, drawsOf, tokenize, wordOf, type Drawing } from './toy-model.ts';

const CONTEXT = 4_096;

interface Asked {
  readonly prompt?: string | number[];
  readonly messages?: { readonly role: string; readonly content: string }[];
  readonly tokens?: number[];
  readonly max_tokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
  readonly stream?: boolean;
  readonly return_token_ids?: boolean;
  readonly logprobs?: boolean;
  readonly prompt_logprobs?: number;
  readonly tools?: unknown;
  readonly response_format?: unknown;
}

/** What a played server does otherwise than vLLM's. */
export interface Manner extends Drawing {
  /** Members of a request that it refuses. */
  readonly refuses?: readonly string[];
  /** Members of a request that it ignores. */
  readonly ignores?: readonly string[];
  /** The key without which it answers 401. */
  readonly key?: string;
  /** Its answers say this instead of what its tokens write. */
  readonly says?: string;
  /** It sends frames without an end. */
  readonly isEndless?: boolean;
  /** It sends whoever asks to this address. */
  readonly redirects?: string;
}

/** A server of a played model that speaks as vLLM's does, as far as an audit asks it. */
export class ToyServer implements AsyncDisposable {
  /** What was asked: the address, and the key that came along. */
  readonly calls: { readonly path: string; readonly key: string | undefined }[] = [];
  readonly #server: Server;
  readonly #model: ToyModel;
  readonly #manner: Manner;

  private constructor(server: Server, model: ToyModel, manner: Manner) {
    this.#server = server;
    this.#model = model;
    this.#manner = manner;
    server.on('request', (request, response) => {
      void this.#answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
  }

  static async start(model: ToyModel, manner: Manner = {}): Promise<ToyServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new ToyServer(server, model, manner);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const path = request.url ?? '';
    this.calls.push({ path, key: request.headers.authorization });
    const { refuses = [], ignores = [], key, redirects } = this.#manner;
    const told = JSON.parse(Buffer.concat(pieces).toString()) as object;
    const send = (status: number, body: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (redirects !== undefined) {
      response.writeHead(307, { location: redirects }).end();
      return;
    }
    if (key !== undefined && request.headers.authorization !== `Bearer ${key}`) return void send(401, {});
    const unknown = refuses.find((name) => name in told);
    if (unknown !== undefined)
      return void send(400, { error: { message: `Unrecognized request argument supplied: ${unknown}` } });
    const asked = Object.fromEntries(Object.entries(told).filter(([name]) => !ignores.includes(name))) as Asked;
    const prompt = promptOf(asked);
    if (path === '/tokenize') return void send(200, { tokens: prompt, count: prompt.length, max_model_len: CONTEXT });
    if (path === '/detokenize') return void send(200, { prompt: detokenize(asked.tokens ?? []) });
    if (asked.stream === true) {
      this.#generate(path, asked, prompt, response);
      return;
    }
    const scored = asked.prompt_logprobs === undefined ? {} : { prompt_logprobs: this.#score(prompt) };
    send(200, { choices: [{ text: '', ...scored }] });
  }

  #score(tokens: readonly number[]) {
    return tokens.map((token, at) => {
      if (at === 0) return null;
      const before = tokens.slice(0, at);
      const own = { id: token, logprob: Math.max(-60, this.#model.score(before, token).logprob) };
      return Object.fromEntries(
        [...this.#model.told(before), own].map(({ id, logprob }) => [
          String(id),
          { logprob, decoded_token: wordOf(id) },
        ]),
      );
    });
  }

  #generate(path: string, asked: Asked, prompt: readonly number[], response: ServerResponse): void {
    const isChat = path === '/v1/chat/completions';
    const frame = (choice: object, more: object = {}) =>
      response.write(`data: ${JSON.stringify({ choices: [{ index: 0, ...choice }], ...more })}\n\n`);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const special = this.#special(asked);
    if (special !== undefined) {
      frame(special);
      return void response.end('data: [DONE]\n\n');
    }
    const draw = drawsOf(asked.seed ?? 0);
    const text = [...prompt];
    const count = asked.max_tokens ?? 16;
    for (let at = 0; at < count; at += 1) {
      const token = this.#model.next(text, asked.temperature ?? 1, this.#manner, draw);
      text.push(token);
      const piece = this.#manner.says === undefined ? wordOf(token) : at === 0 ? this.#manner.says : '';
      frame({
        ...(isChat ? { delta: { content: piece } } : { text: piece }),
        ...(asked.return_token_ids === true ? { token_ids: [token] } : {}),
        ...(asked.logprobs === true ? { logprobs: { content: [{ token: wordOf(token), logprob: -1 }] } } : {}),
        finish_reason: at === count - 1 ? 'length' : null,
      });
    }
    if (this.#manner.isEndless === true) {
      flood(response);
      return;
    }
    const usage = { prompt_tokens: prompt.length, completion_tokens: count };
    response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
  }

  /** Tools and formats, which the played model keeps without a word of its own. */
  #special({ tools, response_format }: Asked): object | undefined {
    const weather = '{"city":"Lisbon","celsius":21}';
    if (tools !== undefined) {
      const call = { index: 0, id: 'call_1', function: { name: 'report_weather', arguments: weather } };
      return { delta: { tool_calls: [call] }, finish_reason: 'tool_calls' };
    }
    return response_format === undefined ? undefined : { delta: { content: weather }, finish_reason: 'stop' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Frames that say nothing, for as long as somebody reads them. */
function flood(response: ServerResponse): void {
  const nothing = `data: ${JSON.stringify({ choices: [], padding: 'x'.repeat(65_536) })}\n\n`;
  const more = () => {
    while (!response.destroyed && response.write(nothing));
  };
  response.on('drain', more);
  more();
}

function promptOf({ prompt, messages }: Asked): number[] {
  if (Array.isArray(prompt)) return prompt;
  if (prompt !== undefined) return tokenize(prompt);
  return tokenize(`${(messages ?? []).map(({ role, content }) => `${role}: ${content}`).join('\n')}\nassistant:`);
}
