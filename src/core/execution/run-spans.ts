import { beginSpan, type Span } from '../../ground/tracing/spans.ts';
import type { SpanAttributes } from '../../ground/tracing/span-table.ts';
import type { Task } from '../../proof/receipts/fields.ts';
import type { Engine, EngineResult, Work } from '../engines/engine.ts';
import type { Claim } from './claims.ts';

const OPERATIONS: Readonly<Record<Task, string>> = {
  chat: 'chat',
  completion: 'text_completion',
  embedding: 'embeddings',
};

/** Begins the span of an attempt, from before its claim, where its job is traced. */
export function beginAttempt({ id, epoch, trace }: Claim, model: string, claimedMs: number): Span | undefined {
  const span = beginSpan('process', `process ${model}`, trace, claimedMs);
  span?.note({
    'messaging.system': 'bullmq',
    'messaging.operation.type': 'process',
    'countersign.job.id': id,
    'countersign.attempt': epoch,
  });
  return span;
}

/** Begins the span of the engine within that of its attempt. */
export function beginGenerating(attempt: Span | undefined, { model, identity }: Engine, work: Work): Span | undefined {
  const operation = OPERATIONS[work.task];
  const span = beginSpan('generate', `${operation} ${model.name}`, attempt?.traceparent);
  const { max_tokens: maxTokens, temperature, top_p: topP, seed } = work.params;
  span?.note({
    'gen_ai.operation.name': operation,
    'gen_ai.provider.name': identity.name,
    'gen_ai.request.model': model.name,
    // Embeddings are drawn from nothing, and have no length to choose.
    ...(work.task === 'embedding'
      ? {}
      : {
          'gen_ai.request.max_tokens': maxTokens,
          'gen_ai.request.temperature': temperature,
          'gen_ai.request.top_p': topP,
          'gen_ai.request.seed': seed,
        }),
  });
  return span;
}

/** What is told of an answer: how long it is and why it ended, and nothing that it says. */
export const generated = ({ usage, finishReason }: EngineResult): SpanAttributes => ({
  'gen_ai.usage.input_tokens': usage.inputTokens,
  'gen_ai.usage.output_tokens': usage.outputTokens,
  'gen_ai.response.finish_reasons': [finishReason],
});
