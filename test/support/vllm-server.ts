import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getLlama, type LlamaContext, type LlamaContextSequence, type LlamaModel, type Token } from 'node-llama-cpp';

const NAME = 'kjv';
const CONTEXT = 256;
const SEQUENCES = 4;

interface Asked {
  prompt?: string | number[];
  messages?: { role: string; content: string }[];
  tokens?: number[];
  max_tokens?: number;
  temperature?: number;
  seed?: number;
  stop?: string[];
  stream?: boolean;
  return_token_ids?: boolean;
  prompt_logprobs?: number;
}

/** The likeliest tokens, the first first; to tell a few, a whole vocabulary need not be put in order. */
function likeliest(probabilities: ReadonlyMap<Token, number>, count: number): [Token, number][] {
  const found: [Token, number][] = [];
  for (const entry of probabilities) {
    const place = found.findIndex(([, probability]) => probability < entry[1]);
    if (place < 0 && found.length >= count) continue;
    found.splice(place < 0 ? found.length : place, 0, entry);
    found.length = Math.min(found.length, count);
  }
  return found;
}

/** The place of a token that is this likely, from 1 on. */
function rankOf(probabilities: ReadonlyMap<Token, number>, own: number): number {
  let before = 0;
  for (const probability of probabilities.values()) if (probability > own) before += 1;
  return before + 1;
}

/**
 * What vLLM's server says of tokens, said by a real model through llama.cpp: `/tokenize`, `/detokenize`,
 * `prompt_logprobs` and `return_token_ids`. vLLM itself needs a GPU; its words are from its documentation.
 */
export class VllmServer implements AsyncDisposable {
  readonly model: LlamaModel;
  /** Requests by path. */
  readonly calls: string[] = [];
  /** What a cheating server adds to the tokens it draws. */
  temperatureShift = 0;
  readonly #context: LlamaContext;
  readonly #waiting: (() => void)[] = [];
  readonly #server: Server;

  private constructor(model: LlamaModel, context: LlamaContext, server: Server) {
    this.model = model;
    this.#context = context;
    this.#server = server;
    server.on('request', (request, response) => {
      void this.#answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
  }

  static async start(file: string): Promise<VllmServer> {
    const llama = await getLlama({ gpu: false, build: 'never', progressLogs: false, logger: () => undefined });
    const model = await llama.loadModel({ modelPath: file });
    const context = await model.createContext({ threads: 1, contextSize: CONTEXT, sequences: SEQUENCES });
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new VllmServer(model, context, server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get endToken(): number {
    return this.model.tokens.eos ?? this.model.tokens.eot ?? 0;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const path = request.url ?? '';
    this.calls.push(path);
    const send = (body: object) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (path === '/v1/models') return void send({ data: [{ id: NAME }] });
    const asked = JSON.parse(Buffer.concat(pieces).toString()) as Asked;
    const prompt = this.#prompt(asked);
    const vocabulary = this.model.fileInfo.metadata.tokenizer.ggml.tokens.length;
    if ([...prompt, ...(asked.tokens ?? [])].some((token) => token >= vocabulary) || prompt.length > CONTEXT)
      return void response.writeHead(400).end('{"error":{"message":"Token id is out of vocabulary"}}');
    switch (path) {
      case '/tokenize':
        return void send({ tokens: prompt, count: prompt.length, max_model_len: CONTEXT });
      case '/detokenize':
        return void send({ prompt: this.model.detokenize((asked.tokens ?? []) as Token[], true) });
      case '/v1/completions':
      case '/v1/chat/completions':
        return asked.stream === true
          ? this.#generate(path, asked, prompt, response)
          : void send({
              choices: [{ text: '', prompt_logprobs: await this.#score(prompt, asked.prompt_logprobs ?? 0) }],
            });
      default:
        response.writeHead(404).end();
    }
  }

  #prompt({ prompt, messages }: Asked): Token[] {
    if (Array.isArray(prompt)) return prompt as Token[];
    const turns = (messages ?? []).map(({ role, content }) => `${role}: ${content}`).join('\n');
    return this.model.tokenize(prompt ?? `${turns}\nassistant:`);
  }

  async #generate(path: string, asked: Asked, prompt: Token[], response: ServerResponse): Promise<void> {
    const isChat = path === '/v1/chat/completions';
    const frame = (choice: object, more: object = {}) =>
      response.write(`data: ${JSON.stringify({ choices: [choice], ...more })}\n\n`);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const sequence = await this.#sequence();
    const drawn: Token[] = [];
    let [text, finish] = ['', 'length'];
    try {
      const temperature = (asked.temperature ?? 1) + this.temperatureShift;
      const options = { temperature, topK: 0, topP: 1, minP: 0, seed: asked.seed ?? 0, yieldEogToken: true };
      for await (const token of sequence.evaluate(prompt, options)) {
        drawn.push(token);
        const isEnd = this.model.isEogToken(token);
        const whole = isEnd ? text : this.model.detokenize(drawn, false, prompt);
        const stops = (asked.stop ?? []).map((stop) => whole.indexOf(stop)).filter((at) => at >= 0);
        const isStopped = stops.length > 0;
        const piece = isStopped
          ? whole.slice(text.length, Math.min(...stops))
          : whole.endsWith('\uFFFD')
            ? ''
            : whole.slice(text.length);
        text += piece;
        frame({
          index: 0,
          ...(isChat ? { delta: { content: piece } } : { text: piece }),
          ...(asked.return_token_ids === true ? { token_ids: [token] } : {}),
        });
        if (isEnd || isStopped) finish = 'stop';
        if (isEnd || isStopped || drawn.length >= (asked.max_tokens ?? 16)) break;
      }
    } finally {
      await this.#giveBack(sequence);
    }
    const rest = finish === 'stop' ? '' : this.model.detokenize(drawn, false, prompt).slice(text.length);
    frame({ index: 0, ...(isChat ? { delta: { content: rest } } : { text: rest }), finish_reason: finish });
    const usage = { prompt_tokens: prompt.length, completion_tokens: drawn.length };
    response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
  }

  /** Of each token after the first: its log-probability and those of the likeliest, as vLLM writes them. */
  async #score(tokens: Token[], count: number): Promise<(Record<string, object> | null)[]> {
    const options = { temperature: 1, topK: 0, topP: 1, minP: 0 };
    const sequence = await this.#sequence();
    try {
      const found = await sequence.controlledEvaluate(
        tokens.map((token) => [token, { generateNext: { probabilities: true, options } }]),
      );
      return tokens.map((token, at) => {
        const probabilities = at === 0 ? undefined : found[at - 1]?.next.probabilities;
        if (probabilities === undefined) return null;
        const own = probabilities.get(token) ?? 1e-30;
        const told = likeliest(probabilities, count);
        if (!told.some(([id]) => id === token)) told.push([token, own]);
        return Object.fromEntries(
          told.map(([id, probability], place) => [
            String(id),
            {
              logprob: Math.log(probability),
              rank: place < count ? place + 1 : rankOf(probabilities, own),
              decoded_token: this.model.detokenize([id]),
            },
          ]),
        );
      });
    } finally {
      await this.#giveBack(sequence);
    }
  }

  async #sequence(): Promise<LlamaContextSequence> {
    while (this.#context.sequencesLeft === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#context.getSequence();
  }

  /** Gives a sequence back, and tells whoever has waited longest for one. */
  async #giveBack(sequence: LlamaContextSequence): Promise<void> {
    await sequence.dispose();
    this.#waiting.shift()?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.#context.dispose();
    await this.model.dispose();
  }
}
