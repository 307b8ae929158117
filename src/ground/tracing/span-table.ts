/** One kind of span: who makes it, and what it stands for. */
interface SpanKind {
  /** As OpenTelemetry names it. */
  readonly kind: 'server' | 'producer' | 'consumer' | 'client' | 'internal';
  readonly role: 'api' | 'api, courier' | 'worker' | 'attestor' | 'courier';
  readonly says: string;
}

/** Every span of ours. A guard compares docs/tracing.md with this. */
export const SPAN_TABLE = {
  request: { kind: 'server', role: 'api', says: 'one HTTP request, until its answer is out' },
  admit: { kind: 'producer', role: 'api, courier', says: 'one job is signed and accepted, or refused' },
  wait: { kind: 'internal', role: 'attestor', says: 'an attempt waited for its engine, by the clock of Redis' },
  process: { kind: 'consumer', role: 'worker', says: 'one attempt, from its claim to its commit' },
  generate: { kind: 'client', role: 'worker', says: 'the engine works; of the GenAI conventions' },
  confirm: { kind: 'consumer', role: 'attestor', says: 'the evidence of an attempt is checked' },
  log: { kind: 'internal', role: 'attestor', says: 'from its place in the log to the checkpoint that has it' },
  enter: { kind: 'internal', role: 'courier', says: 'the end is entered in the books and told' },
  webhook: { kind: 'client', role: 'courier', says: 'one attempt to deliver a webhook message' },
} as const satisfies Record<string, SpanKind>;

export type SpanName = keyof typeof SPAN_TABLE;

/**
 * What spans may say, and nothing else. None of these holds a prompt, an answer, a secret, or more of an
 * address than its host. The names that are not ours are of OpenTelemetry's conventions.
 */
export const SPAN_ATTRIBUTES = {
  'countersign.job.id': 'id of the job',
  'countersign.tenant': 'tenant of the job',
  'countersign.attempt': 'number of the attempt, from 1',
  'countersign.outcome': 'what it came to',
  'countersign.log.index': 'place in the log',
  'error.type': 'code of the table of errors, or what went wrong in one word',
  'http.request.method': 'HTTP method',
  'http.route': 'route of the table of routes',
  'http.response.status_code': 'HTTP status',
  'server.address': 'host of a webhook',
  'messaging.system': 'always `bullmq`',
  'messaging.destination.name': 'queue of the pool and model',
  'messaging.operation.type': '`send` or `process`',
  'gen_ai.operation.name': '`chat`, `text_completion` or `embeddings`',
  'gen_ai.provider.name': 'engine of the catalog',
  'gen_ai.request.model': 'model of the catalog',
  'gen_ai.request.max_tokens': 'most tokens that were asked for',
  'gen_ai.request.temperature': 'temperature that was asked for',
  'gen_ai.request.top_p': 'nucleus that was asked for',
  'gen_ai.request.seed': 'seed that was asked for',
  'gen_ai.response.finish_reasons': 'why the answer ended',
  'gen_ai.usage.input_tokens': 'tokens of the prompt',
  'gen_ai.usage.output_tokens': 'tokens of the answer',
} as const satisfies Record<string, string>;

export type SpanAttributes = Readonly<
  Partial<Record<keyof typeof SPAN_ATTRIBUTES, string | number | string[] | undefined>>
>;
