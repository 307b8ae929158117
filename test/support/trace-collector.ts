import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';

/** OTLP over HTTP with JSON, as opentelemetry-proto maps it: ids in hexadecimal, 64-bit numbers as text. */
const Nanos = z.string().regex(/^\d{1,20}$/);
const Value = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ intValue: z.union([z.number().int(), z.string().regex(/^-?\d+$/)]) }),
  z.strictObject({ doubleValue: z.number() }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ arrayValue: z.strictObject({ values: z.array(z.strictObject({ stringValue: z.string() })) }) }),
]);
type Value = z.infer<typeof Value>;
const Attributes = z.array(z.strictObject({ key: z.string(), value: Value }));
const Dropped = z.number().int().min(0).optional();
const WireSpan = z.strictObject({
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  parentSpanId: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .optional(),
  traceState: z.string().optional(),
  flags: z.number().int().optional(),
  name: z.string(),
  kind: z.number().int().min(1).max(5),
  startTimeUnixNano: Nanos,
  endTimeUnixNano: Nanos,
  attributes: Attributes,
  droppedAttributesCount: Dropped,
  events: z.array(z.never()),
  droppedEventsCount: Dropped,
  links: z.array(z.never()),
  droppedLinksCount: Dropped,
  status: z.strictObject({ code: z.number().int().min(0).max(2), message: z.string().optional() }),
});
const Request = z.strictObject({
  resourceSpans: z.array(
    z.strictObject({
      resource: z.strictObject({ attributes: Attributes, droppedAttributesCount: Dropped }),
      scopeSpans: z.array(
        z.strictObject({
          scope: z.strictObject({ name: z.string(), version: z.string().optional() }),
          spans: z.array(WireSpan),
          schemaUrl: z.string().optional(),
        }),
      ),
      schemaUrl: z.string().optional(),
    }),
  ),
});

/** A span that was exported. */
export interface Exported {
  readonly traceId: string;
  readonly spanId: string;
  readonly parent: string | undefined;
  readonly service: string;
  readonly name: string;
  readonly kind: number;
  readonly ms: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly isError: boolean;
}

/** Takes traces as a collector does, and refuses what does not have the form of the protocol. */
export class TraceCollector implements AsyncDisposable {
  readonly spans: Exported[] = [];
  /** Requests that were not of the protocol; a test expects none. */
  readonly refused: string[] = [];
  /** All that was sent, as it was sent. */
  raw = '';
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<TraceCollector> {
    const server = createServer();
    const collector = new TraceCollector(server);
    server.on('request', (request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const what = `${request.method ?? ''} ${request.url ?? ''} ${request.headers['content-type'] ?? ''}`;
        const isTaken = collector.#take(what, Buffer.concat(pieces).toString());
        response.writeHead(isTaken ? 200 : 400, { 'content-type': 'application/json' }).end('{}');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return collector;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  of(traceId: string): Exported[] {
    return this.spans.filter((span) => span.traceId === traceId);
  }

  #take(what: string, body: string): boolean {
    this.raw += body;
    const parsed = Request.safeParse(JSON.parse(body));
    if (what !== 'POST /v1/traces application/json' || !parsed.success) {
      this.refused.push(`${what}: ${parsed.error?.message ?? ''}`);
      return false;
    }
    for (const { resource, scopeSpans } of parsed.data.resourceSpans)
      for (const { spans } of scopeSpans)
        this.spans.push(...spans.map((span) => exported(span, plain(resource.attributes)['service.name'])));
    return true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

function exported(span: z.infer<typeof WireSpan>, service: unknown): Exported {
  const { traceId, spanId, parentSpanId, name, kind, attributes, status } = span;
  const ms = Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6;
  return {
    traceId,
    spanId,
    parent: parentSpanId,
    service: String(service),
    name,
    kind,
    ms,
    attributes: plain(attributes),
    isError: status.code === 2,
  };
}

function plain(attributes: z.infer<typeof Attributes>): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, valueOf(value)]));
}

function valueOf(value: Value): unknown {
  if ('stringValue' in value) return value.stringValue;
  if ('intValue' in value) return Number(value.intValue);
  if ('doubleValue' in value) return value.doubleValue;
  if ('boolValue' in value) return value.boolValue;
  return value.arrayValue.values.map((one) => one.stringValue);
}
