import { setTimeout as pause } from 'node:timers/promises';
import type { Duplex } from 'node:stream';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { FrameChannel } from '../../ground/process/frame-channel.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import { EngineError, runToEnd, type Engine } from './engine.ts';
import type { EngineModel } from './engine-kind.ts';
import { EngineOrder, EngineReport, MAX_MESSAGE_BYTES } from './engine-messages.ts';
import { loadEngine } from './load-engine.ts';

type Call = Exclude<EngineOrder, { kind: 'stop' }>;

/**
 * The child's half of engines in a process of their own: it loads the models and does what the parent orders,
 * until the stream ends. A model that cannot be loaded is tried again.
 */
export function hostEngines(models: readonly EngineModel[], stream: Duplex, onEnd: () => void): void {
  const engines = new Map<string, Engine>();
  const running = new Map<number, AbortController>();
  const channel = new FrameChannel(
    stream,
    MAX_MESSAGE_BYTES,
    (message) => {
      const order = EngineOrder.parse(message);
      if (order.kind === 'stop') running.get(order.call)?.abort();
      else void answer(order);
    },
    onEnd,
  );
  const say = (report: EngineReport) => channel.send(report);

  const answer = async (order: Call): Promise<void> => {
    const controller = new AbortController();
    running.set(order.call, controller);
    let report: EngineReport;
    try {
      report = await compute(engines.get(order.model), order, controller.signal, say);
    } catch (error) {
      report = failure(order.call, error);
    }
    running.delete(order.call);
    if (!say(report)) say(failure(order.call, new EngineError('engine_refused', 'The answer is too long.')));
  };

  const load = async (model: EngineModel): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      try {
        const engine = await loadEngine(model);
        engines.set(model.name, engine);
        say(factsOf(engine));
        return;
      } catch (error) {
        say(unloaded(model.name, error));
        await pause(growingPause(tries));
      }
    }
  };
  for (const model of models) void load(model);
}

async function compute(
  engine: Engine | undefined,
  order: Call,
  signal: AbortSignal,
  say: (report: EngineReport) => void,
): Promise<EngineReport> {
  const { call, work, input } = order;
  if (engine === undefined) throw new EngineError('engine_error', 'The model is not loaded.');
  switch (order.kind) {
    case 'run': {
      const { output, usage, finishReason, tokens } = await runToEnd(engine, work, input, signal, (text) => {
        if (order.pieces) say({ kind: 'piece', call, text });
      });
      const result = { output, usage, finishReason, ...(tokens === undefined ? {} : { tokens: [...tokens] }) };
      return { kind: 'ran', call, result };
    }
    case 'replay': {
      if (engine.replay === undefined) throw new EngineError('engine_refused', 'The engine replays no tokens.');
      const { result, isWhole, margins } = await engine.replay(work, input, order.tokens, signal);
      const { tokens, ...rest } = result;
      const plain = { ...rest, ...(tokens === undefined ? {} : { tokens: [...tokens] }) };
      return { kind: 'replayed', call, replay: { result: plain, isWhole, margins: [...margins] } };
    }
    case 'recount': {
      if (engine.recount === undefined) throw new EngineError('engine_refused', 'The engine counts no tokens.');
      return { kind: 'recounted', call, usage: await engine.recount(work, input, order.output) };
    }
  }
}

function failure(call: number, error: unknown): EngineReport {
  const code = error instanceof EngineError ? error.code : 'engine_error';
  return { kind: 'failed', call, code, message: messageOf(error).slice(0, 1_000) };
}

function factsOf(engine: Engine): EngineReport {
  const { model, identity, parallel, repeatable } = engine;
  return {
    kind: 'loaded',
    model: { name: model.name, sha256: model.sha256, measured: model.measured },
    identity: { name: identity.name, version: identity.version, sha256: identity.sha256 },
    parallel,
    repeatable,
    replays: engine.replay !== undefined,
    recounts: engine.recount !== undefined,
  };
}

function unloaded(model: string, error: unknown): EngineReport {
  const code = error instanceof CodedError ? error.code : 'engine_unfit';
  const parsed = EngineReport.safeParse({ kind: 'unloaded', model, code, message: messageOf(error).slice(0, 1_000) });
  return parsed.data ?? { kind: 'unloaded', model, code: 'engine_unfit', message: messageOf(error).slice(0, 1_000) };
}
