import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Duplex } from 'node:stream';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { FrameChannel } from '../../ground/process/frame-channel.ts';
import { RestartPauses } from '../../ground/process/growing-pause.ts';
import type { Usage } from '../../proof/receipts/fields.ts';
import { EngineError, type Engine, type EngineResult, type Replay, type Work } from './engine.ts';
import type { EngineModel } from './engine-kind.ts';
import { EngineReport, MAX_MESSAGE_BYTES, type EngineOrder } from './engine-messages.ts';
import { LoneTurns } from './lone-turns.ts';

/** The child has this long to end when it is closed. */
const CLOSE_MS = 5_000;
/** Counting tokens takes moments; whoever waits for it waits no longer. */
const RECOUNT_MS = 10_000;
/** A child that has ended is missed after this time. */
const MISSED_AFTER_MS = 10_000;
/** A call at which a child died so often is not made again. */
const MAX_DEATHS = 2;
const MAX_SUSPECTS = 1_000;
/** Deaths are held against a call for so long. */
const SUSPECT_MS = 3_600_000;

type Facts = Extract<EngineReport, { kind: 'loaded' }>;
type Answer = Exclude<Extract<EngineReport, { call: number }>, { kind: 'piece' }>;
/** An order as it is asked for; its number is given when it is sent. */
type Question = EngineOrder extends infer Order
  ? Order extends { kind: 'stop' }
    ? never
    : Omit<Order, 'call'>
  : never;

interface Pending {
  readonly digest: string;
  readonly onPiece: (text: string) => void;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** One life of the child. */
interface Life {
  readonly process: ChildProcess;
  readonly channel: FrameChannel;
  readonly pending: Map<number, Pending>;
  readonly loaded: Map<string, Facts>;
  /** Calls that did not end when they were told to: the child is killed for them and for no other. */
  readonly overdue: Set<number>;
  readonly startedMs: number;
  endedMs: number | undefined;
}

export interface ChildOptions {
  /** The program: it hosts the engines of `models` on its file descriptor 3. */
  readonly program: URL;
  /** All that the child may know. */
  readonly env: Readonly<Record<string, string>>;
  readonly models: readonly EngineModel[];
  /** After its signal a call has this long to end, ms; then the child is killed. */
  readonly stopMs: number;
  /** Whether pieces of answers are wanted. */
  readonly streams: boolean;
  readonly logger: Logger;
}

/**
 * Engines in a child process, which runs native code on what strangers wrote and holds no key. A child that
 * dies fails the calls that it had in hand and no other; it is started again, with growing pauses. A call
 * that was in hand at a death is made alone the next time, and after a second death no more: one question
 * cannot end the answers to others again and again.
 */
export class ChildEngines {
  readonly #options: ChildOptions;
  readonly #engines = new Map<string, ChildEngine>();
  readonly #suspects = new Map<string, { deaths: number; atMs: number }>();
  readonly #turns = new LoneTurns();
  #life: Life | undefined;
  /** The last life in which a model was loaded; also after its end. */
  #lastLife: Life | undefined;
  readonly #pauses = new RestartPauses();
  #calls = 0;
  #restart: NodeJS.Timeout | undefined;
  #isClosed = true;
  /** Hears of each model of the first life: loaded, or why not. */
  #onLoad: (model: string, failure?: CodedError) => void = () => undefined;

  /** There is no child before `open`. */
  constructor(options: ChildOptions) {
    this.#options = options;
  }

  /** As `open`. */
  static async start(options: ChildOptions): Promise<ChildEngines> {
    const engines = new ChildEngines(options);
    await engines.open();
    return engines;
  }

  /**
   * Starts the child and waits for its models; those whose server is away may come later. Throws the
   * CodedError of a model that cannot be loaded. It can be closed and opened again, and goes on knowing which
   * calls ended a child.
   */
  async open(): Promise<void> {
    if (this.#options.models.length === 0) return;
    this.#isClosed = false;
    try {
      await this.#firstLoad();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** The models that the child is to load. */
  get models(): readonly EngineModel[] {
    return this.#options.models;
  }

  /** The engine of a model that was loaded once; calls fail while the child is away. */
  get(model: string): Engine | undefined {
    return this.#engines.get(model);
  }

  /**
   * Those that the child has loaded, so that others may be told of them: a child that has just ended is soon
   * back, and one question that ends it must not shut everybody out.
   */
  readonly loaded = {
    get: (model: string): Engine | undefined => {
      const { loaded, endedMs } = this.#lastLife ?? {};
      const isRecent = endedMs === undefined || performance.now() - endedMs < MISSED_AFTER_MS;
      return isRecent && loaded?.has(model) === true ? this.#engines.get(model) : undefined;
    },
  };

  /** Ends the child; nothing runs on the engines afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#restart);
    const life = this.#life;
    if (life === undefined) return;
    const exited = exitOf(life.process);
    life.channel.close();
    const forced = setTimeout(() => life.process.kill('SIGKILL'), CLOSE_MS);
    await exited;
    clearTimeout(forced);
  }

  /** The engine of a model that the child has loaded. Throws CodedError `engine_away` where it has not. */
  require(model: string): Engine {
    const engine = this.#life?.loaded.has(model) === true ? this.#engines.get(model) : undefined;
    if (engine === undefined) throw away(model);
    return engine;
  }

  /**
   * Asks the child; `onPiece` hears of what it says before its answer. Throws EngineError, CodedError
   * `engine_away` or `engine_died`, or the reason to stop.
   */
  async ask(question: Question, signal: AbortSignal, onPiece: Pending['onPiece'] = () => undefined): Promise<Answer> {
    const digest = sha256Hex(JSON.stringify(question));
    const deaths = this.#deathsAt(digest);
    if (deaths >= MAX_DEATHS)
      throw new CodedError('engine_died', `The process of the engines died ${deaths} times at this case.`);
    const send = () => this.#send(question, signal, { digest, onPiece });
    return deaths > 0 ? this.#turns.alone(send) : this.#turns.beside(send);
  }

  async #send(question: Question, signal: AbortSignal, of: Pick<Pending, 'digest' | 'onPiece'>): Promise<Answer> {
    signal.throwIfAborted();
    const life = this.#life;
    if (life?.loaded.has(question.model) !== true) throw away(question.model);
    this.#calls += 1;
    const call = this.#calls;
    let forced: NodeJS.Timeout | undefined;
    const stop = () => {
      life.channel.send({ kind: 'stop', call });
      forced = setTimeout(() => {
        life.overdue.add(call);
        life.process.kill('SIGKILL');
      }, this.#options.stopMs);
    };
    try {
      return await new Promise<Answer>((resolve, reject) => {
        life.pending.set(call, { ...of, resolve, reject });
        signal.addEventListener('abort', stop, { once: true });
        if (!life.channel.send({ ...question, call }))
          reject(new EngineError('engine_refused', 'The question is too long.'));
      });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(forced);
      signal.removeEventListener('abort', stop);
      life.pending.delete(call);
    }
  }

  #firstLoad(): Promise<void> {
    const waiting = new Set(this.#options.models.map(({ name }) => name));
    return new Promise((resolve, reject) => {
      this.#onLoad = (model, failure) => {
        if (failure !== undefined && failure.code !== 'engine_away') reject(failure);
        waiting.delete(model);
        if (waiting.size === 0) resolve();
      };
      const { process: child } = this.#start();
      child.once('exit', (code, signal) =>
        reject(new CodedError('engine_unfit', `The process of the engines ended (${signal ?? String(code)}).`)),
      );
    });
  }

  #start(): Life {
    const { program, env } = this.#options;
    const child = spawn(process.execPath, [fileURLToPath(program)], {
      env,
      stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    });
    const pipe = child.stdio[3] as Duplex;
    const channel = new FrameChannel(
      pipe,
      MAX_MESSAGE_BYTES,
      (message) => this.#hear(life, EngineReport.parse(message)),
      // A child that says what it may not, or nothing more, is of no use.
      () => void child.kill('SIGKILL'),
    );
    const life: Life = {
      process: child,
      channel,
      pending: new Map(),
      loaded: new Map(),
      overdue: new Set(),
      startedMs: performance.now(),
      endedMs: undefined,
    };
    this.#life = life;
    child.once('error', () => this.#died(life, 'could not be started'));
    child.once('exit', (code, signal) => this.#died(life, signal ?? `exit code ${code ?? 0}`));
    return life;
  }

  #hear(life: Life, report: EngineReport): void {
    if (report.kind === 'loaded') this.#take(life, report);
    else if (report.kind === 'unloaded') {
      const { model, code, message } = report;
      this.#options.logger.warn({ model, code }, `a model is not loaded: ${message}`);
      this.#onLoad(model, new CodedError(code, message));
    } else {
      const pending = life.pending.get(report.call);
      if (report.kind === 'piece') pending?.onPiece(report.text);
      else if (report.kind === 'failed') pending?.reject(new EngineError(report.code, report.message));
      else pending?.resolve(report);
    }
  }

  /** A model counts where it is the one that this process was started with. */
  #take(life: Life, facts: Facts): void {
    const { name } = facts.model;
    const wanted = this.#options.models.find((model) => model.name === name);
    if (wanted?.sha256 !== facts.model.sha256) return;
    life.loaded.set(name, facts);
    this.#lastLife = life;
    this.#engines.set(name, new ChildEngine(this, facts, this.#options.streams));
    this.#onLoad(name);
  }

  #died(life: Life, how: string): void {
    if (this.#life !== life) return;
    this.#life = undefined;
    life.endedMs = performance.now();
    life.channel.close();
    for (const [call, { digest, reject }] of life.pending) {
      if (life.overdue.size === 0 || life.overdue.has(call)) this.#suspect(digest);
      reject(new CodedError('engine_died', `The process of the engines ended (${how}).`));
    }
    if (this.#isClosed) return;
    const pauseMs = this.#pauses.after(life.endedMs - life.startedMs);
    this.#options.logger.warn(
      { how, inHand: life.pending.size, pauseMs },
      'the process of the engines has ended and is started again',
    );
    this.#restart = setTimeout(() => this.#start(), pauseMs);
  }

  #suspect(digest: string): void {
    const deaths = this.#deathsAt(digest) + 1;
    this.#suspects.delete(digest);
    this.#suspects.set(digest, { deaths, atMs: performance.now() });
    const [oldest] = this.#suspects.keys();
    if (this.#suspects.size > MAX_SUSPECTS && oldest !== undefined) this.#suspects.delete(oldest);
  }

  #deathsAt(digest: string): number {
    const suspect = this.#suspects.get(digest);
    return suspect === undefined || performance.now() - suspect.atMs > SUSPECT_MS ? 0 : suspect.deaths;
  }
}

/** An engine of the child, which is used as any other. */
class ChildEngine implements Engine {
  readonly identity;
  readonly model;
  readonly parallel: number;
  readonly repeatable: Engine['repeatable'];
  readonly replay?: NonNullable<Engine['replay']>;
  readonly recount?: NonNullable<Engine['recount']>;
  readonly #child: ChildEngines;
  readonly #streams: boolean;

  constructor(
    child: ChildEngines,
    { identity, model, parallel, repeatable, replays, recounts }: Facts,
    streams: boolean,
  ) {
    this.#child = child;
    this.#streams = streams;
    this.identity = identity;
    this.model = model;
    this.parallel = parallel;
    this.repeatable = repeatable;
    if (replays) this.replay = (work, input, tokens, signal) => this.#replay(work, input, tokens, signal);
    if (recounts) this.recount = (work, input, output) => this.#recount(work, input, output);
  }

  async *run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    const pieces: string[] = [];
    let wake: () => void = () => undefined;
    const question = { kind: 'run', model: this.model.name, work, input, pieces: this.#streams } as const;
    const asked = this.#child.ask(question, signal, (text) => {
      pieces.push(text);
      wake();
    });
    // Its error is thrown below, when what came before it has been handed on.
    const over = asked.then(
      () => true,
      () => true,
    );
    for (let isOver = false; !isOver || pieces.length > 0;) {
      if (pieces.length === 0)
        isOver = await Promise.race([over, new Promise<false>((resolve) => (wake = () => resolve(false)))]);
      yield* pieces.splice(0);
    }
    const answer = await asked;
    if (answer.kind !== 'ran') throw wrongAnswer();
    const { tokens, ...result } = answer.result;
    return tokens === undefined ? result : { ...result, tokens };
  }

  async #replay(work: Work, input: unknown, tokens: readonly number[], signal: AbortSignal): Promise<Replay> {
    const claimed = [...tokens];
    const answer = await this.#child.ask(
      { kind: 'replay', model: this.model.name, work, input, tokens: claimed },
      signal,
    );
    if (answer.kind !== 'replayed') throw wrongAnswer();
    const { result, isWhole, margins } = answer.replay;
    const { tokens: read, ...rest } = result;
    return { result: read === undefined ? rest : { ...rest, tokens: read }, isWhole, margins };
  }

  async #recount(work: Work, input: unknown, output: string): Promise<Usage> {
    const question = { kind: 'recount', model: this.model.name, work, input, output } as const;
    const answer = await this.#child.ask(question, AbortSignal.timeout(RECOUNT_MS));
    if (answer.kind !== 'recounted') throw wrongAnswer();
    return answer.usage;
  }

  async probe(): Promise<void> {
    await Promise.resolve(this.#child.require(this.model.name));
  }

  /** The child is closed, and all its engines with it. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}

const wrongAnswer = () => new EngineError('engine_error', 'The process of the engines answered something else.');
const away = (model: string) => new CodedError('engine_away', `The process that computes ${model} is away.`);

function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
  });
}
