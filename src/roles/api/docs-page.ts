import { ERROR_CATALOG } from '../../ground/errors/catalog.ts';
import { jsonSchema } from './json-schemas.ts';
import type { Operation } from './operation.ts';
import { OPERATIONS } from './operations.ts';

const STYLE = [
  'body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2430}',
  'h2{font-size:1.05rem;margin:2rem 0 .3rem}',
  'code{background:#eef1f5;padding:.1rem .3rem;border-radius:.25rem}',
  'pre{background:#f6f8fa;padding:1rem;overflow:auto;border-radius:.4rem}',
  'section{border-top:1px solid #dde3ea}',
  '@media(prefers-color-scheme:dark){body{background:#11161d;color:#dfe6ee}code,pre{background:#1d2530}',
  'section{border-color:#2a3441}a{color:#8ab8ff}}',
].join('');

/** A page without scripts, so that nothing has to be fetched or trusted to read it. */
export function docsPage(): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Countersign API</title><style>${STYLE}</style></head>
<body><h1>Countersign API</h1><p>A job is done only when a separate attestor has confirmed it.
Send your key as <code>Authorization: Bearer csk_…</code>.
Errors are problem documents (RFC 9457) with a stable <code>code</code>.
The same as <a href="/docs/openapi.json">OpenAPI 3.1</a>.</p>${OPERATIONS.map(section).join('')}</body></html>`;
}

function section(operation: Operation): string {
  const { method, path, summary, description = '', scope, headers, query, body, success, errors } = operation;
  const answers = [
    ...Object.entries(success).map(([status, content]) => [status, content.description] as const),
    ...errors.map((code) => [`${ERROR_CATALOG[code].status} ${code}`, ERROR_CATALOG[code].title] as const),
  ];
  return `
<section><h2><code>${method.toUpperCase()} ${escape(path)}</code></h2><p>${escape(`${summary}. ${description}`)}</p>
<p>${scope === null ? 'Open to everyone.' : `Needs an API key with the scope <code>${scope}</code>.`}</p>
${headers === undefined ? '' : headerLines(headers)}
${query === undefined ? '' : details('Query', jsonSchema(query, 'input'))}
${body === undefined ? '' : details('Body', jsonSchema(body.schema, 'input'))}
<ul>${answers.map(([code, what]) => `<li><code>${code}</code> ${escape(what)}</li>`).join('\n')}</ul></section>`;
}

function details(title: string, schema: object): string {
  return `<details><summary>${title}</summary><pre>${escape(JSON.stringify(schema, null, 2))}</pre></details>`;
}

function headerLines(headers: NonNullable<Operation['headers']>): string {
  const { properties = {} } = jsonSchema(headers, 'input');
  return Object.entries(properties)
    .map(([name, schema]) => {
      const description = typeof schema === 'object' ? (schema.description ?? '') : '';
      return `<p>Header <code>${escape(name)}</code>: ${escape(description)}</p>`;
    })
    .join('');
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`).replace(/`([^`]+)`/g, '<code>$1</code>');
}
