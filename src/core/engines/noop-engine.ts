import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { Usage } from '../../proof/receipts/fields.ts';
import { z } from 'zod';
import type { Engine, EngineResult, Work } from './engine.ts';
import { ENTRY_FIELDS, defineEngine } from './engine-kind.ts';

/**
 * Computes nothing. It is for benchmarks, where the figures must be ours and no model's. The digest of no
 * weights is that of no bytes.
 */
export class NoopEngine implements Engine {
  readonly identity = { name: 'noop', version: '1', sha256: sha256Hex('noop') };
  readonly model;
  readonly parallel: number;
  readonly repeatable = 'exact' as const;

  constructor(options: { name: string; sha256: string; parallel: number }) {
    this.model = { name: options.name, sha256: options.sha256, measured: true };
    this.parallel = options.parallel;
  }

  recount(): Usage {
    return { inputTokens: 1, outputTokens: 1 };
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- nothing to wait for is the point of it
  async *run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    signal.throwIfAborted();
    const text = sha256Hex(JSON.stringify([work.params.seed, input]));
    const output =
      work.task === 'chat'
        ? { message: { role: 'assistant', content: text }, finish_reason: 'stop' }
        : { text, finish_reason: 'stop' };
    return { output: JSON.stringify(output), usage: { inputTokens: 1, outputTokens: 1 }, finishReason: 'stop' };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export const noop = defineEngine({
  name: 'noop',
  schema: z.strictObject({
    ...ENTRY_FIELDS,
    engine: z.literal('noop'),
    parallel: z.number().int().min(1).max(1_024).default(64),
  }),
  computesHere: false,
  capabilities: ({ parallel }) => ({
    repeats: 'exact',
    measuresWeights: true,
    features: [],
    parallel,
    replay: undefined,
  }),
  load: (entry) => Promise.resolve(new NoopEngine(entry)),
});
