import { z } from 'zod';
import { ERROR_CATALOG } from '../../ground/errors/catalog.ts';
import { JSON_TYPE, OPERATIONS, type Operation } from './operations.ts';

/** The OpenAPI description, made from the table of routes. */
export function openApiDocument(): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of OPERATIONS) {
    const path = paths[operation.path] ?? {};
    path[operation.method] = describe(operation);
    paths[operation.path] = path;
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Countersign',
      version: '0.1.0',
      description: 'Inference jobs that are done only when a separate attestor has confirmed them.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      schemas: {
        Problem: {
          type: 'object',
          required: ['type', 'title', 'status', 'code', 'detail'],
          properties: {
            type: { type: 'string' },
            title: { type: 'string' },
            status: { type: 'integer' },
            code: { enum: Object.keys(ERROR_CATALOG) },
            detail: { type: 'string' },
            hint: { type: 'string' },
          },
        },
      },
    },
  };
}

function describe(operation: Operation): Record<string, unknown> {
  const errors = [
    ...operation.errors,
    ...(operation.scope === null ? [] : (['unauthenticated', 'scope_missing', 'storage_unavailable'] as const)),
  ];
  const responses: Record<string, unknown> = {};
  for (const [status, { description, type, schema }] of Object.entries(operation.success)) {
    responses[status] = {
      description,
      content: { [type]: schema === undefined ? {} : { schema: jsonSchema(schema) } },
    };
  }
  for (const code of errors) {
    const status = String(ERROR_CATALOG[code].status);
    responses[status] ??= {
      description: ERROR_CATALOG[code].title,
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    };
  }
  return {
    summary: operation.summary,
    operationId: `${operation.method}${operation.path.replace(/[^a-zA-Z]+(\w)?/g, (_, letter: string | undefined) => (letter ?? '').toUpperCase())}`,
    security: operation.scope === null ? [] : [{ key: [] }],
    ...(operation.scope === null ? {} : { 'x-scope': operation.scope }),
    parameters: [
      ...[...operation.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        name,
        in: 'path',
        required: true,
        schema: { type: 'string' },
      })),
      ...Object.entries(operation.query?.shape ?? {}).map(([name, schema]) => ({
        name,
        in: 'query',
        schema: jsonSchema(schema as z.ZodType),
      })),
      ...(operation.headers ?? []).map(({ name, description }) => ({
        name,
        in: 'header',
        description,
        schema: { type: 'string' },
      })),
    ],
    ...(operation.body === undefined
      ? {}
      : { requestBody: { required: true, content: { [JSON_TYPE]: { schema: jsonSchema(operation.body) } } } }),
    responses,
  };
}

function jsonSchema(schema: z.ZodType): unknown {
  return z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input', unrepresentable: 'any' });
}

/** A page without scripts, so that nothing has to be fetched or trusted to read it. */
export function docsPage(): string {
  const rows = OPERATIONS.map(
    ({ method, path, summary, scope, headers, body, query, success, errors }) => `
<section><h2><code>${method.toUpperCase()} ${escape(path)}</code></h2><p>${escape(summary)}</p>
<p>${scope === null ? 'Open to everyone.' : `Needs an API key with the scope <code>${scope}</code>.`}</p>
${(headers ?? []).map(({ name, description }) => `<p>Header <code>${escape(name)}</code>: ${escape(description)}</p>`).join('')}
${query === undefined ? '' : `<details><summary>Query</summary><pre>${escape(JSON.stringify(jsonSchema(query), null, 2))}</pre></details>`}
${body === undefined ? '' : `<details><summary>Body</summary><pre>${escape(JSON.stringify(jsonSchema(body), null, 2))}</pre></details>`}
<ul>${Object.entries(success)
      .map(([status, { description }]) => `<li><code>${status}</code> ${escape(description)}</li>`)
      .join('')}
${errors.map((code) => `<li><code>${ERROR_CATALOG[code].status} ${code}</code> ${escape(ERROR_CATALOG[code].title)}</li>`).join('')}</ul></section>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Countersign API</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2430}h2{font-size:1.05rem;margin:2rem 0 .3rem}code{background:#eef1f5;padding:.1rem .3rem;border-radius:.25rem}pre{background:#f6f8fa;padding:1rem;overflow:auto;border-radius:.4rem}section{border-top:1px solid #dde3ea}@media(prefers-color-scheme:dark){body{background:#11161d;color:#dfe6ee}code,pre{background:#1d2530}section{border-color:#2a3441}a{color:#8ab8ff}}</style>
</head><body><h1>Countersign API</h1><p>A job is done only when a separate attestor has confirmed it. Send your key as <code>Authorization: Bearer csk_…</code>.
Errors are problem documents (RFC 9457) with a stable <code>code</code>. The same as <a href="/docs/openapi.json">OpenAPI 3.1</a>.</p>${rows.join('')}</body></html>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`).replace(/`([^`]+)`/g, '<code>$1</code>');
}
