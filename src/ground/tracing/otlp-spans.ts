import type { Attributes, Context, Span as OtelSpan, Tracer } from '@opentelemetry/api';
import { messageOf } from '../errors/coded-error.ts';
import { rateLimited, type Logger } from '../logging/logger.ts';
import { SPAN_TABLE, type SpanAttributes, type SpanName } from './span-table.ts';
import { makeSpansBy, type Span, type SpanMaker } from './spans.ts';
import { formatTraceparent, type TraceContext } from './trace-context.ts';

/** Traces that are begun, or followed because a caller asks, in a second; a flood of them is not recorded. */
const MOST_A_SECOND = 1_000;
/** What the collector has not taken yet; what comes beyond is lost. */
const MOST_WAITING = 4_096;
const SEND_EVERY_MS = 1_000;
const SEND_MS = 5_000;
/** No collector holds up a stop for longer. */
const FLUSH_MS = 2_000;
const LIMITS = { attributeValueLengthLimit: 256, attributeCountLimit: 32 };

/** Where spans are sent, and who sends them. */
export interface Collector {
  /** The address of OTLP over HTTP, without the path that it gives traces. */
  readonly endpoint: string;
  /** Of what nobody traces, so much is traced. */
  readonly share: number;
  readonly role: string;
  readonly version: string;
}

/**
 * Begins to make spans and to send them. The packages are loaded here and nowhere else, so that a process
 * without a collector has none of them. Returns what sends the rest and ends it; that never throws.
 */
export async function startTracing(collector: Collector, logger: Logger): Promise<() => Promise<void>> {
  const [api, sdk, { resourceFromAttributes }, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ]);
  const warn = rateLimited<string>(30_000, (said, suppressed) =>
    logger.warn({ suppressed }, `traces: ${said.slice(0, 300)}`),
  );
  const quiet = () => undefined;
  api.diag.setLogger({ error: warn, warn, info: quiet, debug: quiet, verbose: quiet }, api.DiagLogLevel.WARN);
  const exporter = new OTLPTraceExporter({
    url: `${collector.endpoint.replace(/\/+$/, '')}/v1/traces`,
    timeoutMillis: SEND_MS,
  });
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({
      'service.name': `countersign-${collector.role}`,
      'service.namespace': 'countersign',
      'service.version': collector.version,
      'service.instance.id': String(process.pid),
    }),
    spanLimits: LIMITS,
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter,
        maxQueueSize: MOST_WAITING,
        scheduledDelayMillis: SEND_EVERY_MS,
        exportTimeoutMillis: SEND_MS,
      }),
    ],
  });
  makeSpansBy(new OtlpSpans(api, provider.getTracer('countersign', collector.version), collector.share));
  return async () => {
    makeSpansBy(undefined);
    const late = new Promise<void>((resolve) => setTimeout(resolve, FLUSH_MS).unref());
    await Promise.race([provider.shutdown(), late]).catch((error: unknown) => warn(messageOf(error)));
  };
}

type Api = typeof import('@opentelemetry/api');

/** Makes spans of OpenTelemetry. What is recorded is decided before, by `isDrawn` and `mayFollow`. */
class OtlpSpans implements SpanMaker {
  readonly #api: Api;
  readonly #tracer: Tracer;
  readonly #share: number;
  #second = 0;
  #begun = 0;

  constructor(api: Api, tracer: Tracer, share: number) {
    this.#api = api;
    this.#tracer = tracer;
    this.#share = share;
  }

  begin(name: SpanName, about: string, parent: TraceContext | undefined, atMs: number | undefined): Span {
    const { SpanKind } = this.#api;
    const kinds = {
      server: SpanKind.SERVER,
      producer: SpanKind.PRODUCER,
      consumer: SpanKind.CONSUMER,
      client: SpanKind.CLIENT,
      internal: SpanKind.INTERNAL,
    };
    const options = { kind: kinds[SPAN_TABLE[name].kind], ...(atMs === undefined ? {} : { startTime: atMs }) };
    return new OtlpSpan(this.#api, this.#tracer.startSpan(about, options, this.#contextOf(parent)));
  }

  isDrawn(): boolean {
    return Math.random() < this.#share && this.mayFollow();
  }

  mayFollow(): boolean {
    const second = Math.floor(performance.now() / 1_000);
    if (second !== this.#second) [this.#second, this.#begun] = [second, 0];
    this.#begun += 1;
    return this.#begun <= MOST_A_SECOND;
  }

  #contextOf(parent: TraceContext | undefined): Context {
    const { ROOT_CONTEXT, TraceFlags, trace } = this.#api;
    if (parent === undefined) return ROOT_CONTEXT;
    const { traceId, spanId } = parent;
    return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
  }
}

class OtlpSpan implements Span {
  readonly #api: Api;
  readonly #span: OtelSpan;

  constructor(api: Api, span: OtelSpan) {
    this.#api = api;
    this.#span = span;
  }

  get traceparent(): string {
    const { traceId, spanId } = this.#span.spanContext();
    return formatTraceparent({ traceId, spanId, isSampled: true });
  }

  note(attributes: SpanAttributes): void {
    this.#span.setAttributes(definedOf(attributes));
  }

  end({ error, atMs }: { readonly error?: string | undefined; readonly atMs?: number } = {}): void {
    if (error !== undefined) {
      this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
      this.note({ 'error.type': error });
    }
    this.#span.end(atMs);
  }
}

function definedOf(attributes: SpanAttributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
