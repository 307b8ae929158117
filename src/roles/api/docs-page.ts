import { ERROR_CATALOG } from '../../ground/errors/catalog.ts';
import { markedText, plainText } from './html-text.ts';
import { componentSchemas, jsonSchema } from './json-schemas.ts';
import type { Content, Operation } from './operation.ts';
import { TAGS } from './operation-tags.ts';
import { OPERATIONS } from './operations.ts';
import { tryOutForm } from './try-out-form.ts';

const STYLE = [
  'body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2430}',
  'h2{margin:3rem 0 .3rem}h3{font-size:1.05rem;margin:2rem 0 .3rem}nav ul{columns:2;padding-left:1rem}nav li{margin:.1rem 0}',
  'code{background:#eef1f5;padding:.1rem .3rem;border-radius:.25rem}nav code{background:none;padding:0;font-size:.85em}',
  'pre{background:#f6f8fa;padding:1rem;overflow:auto;border-radius:.4rem}pre code{background:none;padding:0}',
  'section{border-top:1px solid #dde3ea}small{color:#5b6775}.tryout{margin:.7rem 0}summary{cursor:pointer}',
  'input,select,textarea,button{font:inherit}input,textarea{width:100%;box-sizing:border-box}input[type=file]{width:auto}',
  'textarea{font:.85em/1.4 ui-monospace,monospace}.try p{margin:.5rem 0}.key{position:sticky;top:0;padding:.5rem 0;background:inherit}',
  'output{display:block;white-space:pre-wrap;overflow-wrap:anywhere;font:.85em/1.4 ui-monospace,monospace}',
  '@media(prefers-color-scheme:dark){body{background:#11161d;color:#dfe6ee}code,pre{background:#1d2530}',
  'section{border-color:#2a3441}a{color:#8ab8ff}small{color:#93a1b0}}',
].join('');

const pageOf = (title: string, body: string): string => `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${title}</title><style>${STYLE}</style></head>
<body>${body}</body></html>`;

/**
 * The page is whole without its script, which sends operations from the page. Nothing comes from elsewhere:
 * an API key that is typed into this page meets no code but ours.
 */
export function docsPage(): string {
  const chapters = chaptersOf();
  return pageOf(
    'Countersign API',
    `<h1>Countersign API</h1><p>A job is done only when a separate attestor has confirmed it.
Send your key as <code>Authorization: Bearer csk_…</code>.
Errors are problem documents (RFC 9457) with a stable <code>code</code>; on the routes of OpenAI's clients they are
errors in OpenAI's shape. The same as <a href="/openapi.json">OpenAPI 3.1</a>, for tools that make clients.</p>
<p class="key" hidden><label>API key for “Try it” <input id="key" type="password" placeholder="csk_…" autocomplete="off" spellcheck="false"></label>
<small>It stays in this page until you leave it, and goes to this service alone.</small></p>
<nav aria-label="Contents">${chapters.map(contentsOf).join('')}<p><a href="#schemas">Schemas</a></p></nav>
${chapters.map(chapterOf).join('')}
<h2 id="schemas">Schemas</h2>${Object.entries(componentSchemas(OPERATIONS)).map(schemaSection).join('')}
<script type="module" src="/docs/try-out.js"></script>`,
  );
}

type Chapter = readonly [tag: string, description: string, operations: readonly Operation[]];

function chaptersOf(): Chapter[] {
  return Object.entries(TAGS).map(([tag, description]) => [
    tag,
    description,
    OPERATIONS.filter((operation) => operation.tag === tag),
  ]);
}

const nameOf = ({ method, path }: Operation): string => `${method.toUpperCase()} ${markedText(path)}`;

function contentsOf([tag, , operations]: Chapter): string {
  const items = operations.map((one) => `<li><a href="#${one.id}"><code>${nameOf(one)}</code></a></li>`).join('');
  return `<p><a href="#tag-${tag}">${tag}</a></p><ul>${items}</ul>`;
}

function chapterOf([tag, description, operations]: Chapter): string {
  return `<h2 id="tag-${tag}">${tag}</h2><p>${markedText(description)}</p>${operations.map(section).join('')}`;
}

function section(operation: Operation): string {
  const { id, summary, description = '', scope, headers, query, body, success, errors } = operation;
  const answers = Object.entries(success).map(
    ([status, content]) => `<li><code>${status}</code> ${markedText(content.description)}${schemaLink(content)}</li>`,
  );
  const refusals = errors.map(
    (code) => `<li><code>${ERROR_CATALOG[code].status} ${code}</code> ${markedText(ERROR_CATALOG[code].title)}</li>`,
  );
  return `
<section id="${id}"><h3><code>${nameOf(operation)}</code></h3><p>${markedText(`${summary}. ${description}`)}</p>
<p>${scope === null ? 'Open to everyone.' : `Needs an API key with the scope <code>${scope}</code>.`}</p>
${headers === undefined ? '' : headerLines(headers)}
${query === undefined ? '' : details('Query', jsonSchema(query, 'input'))}
${body === undefined ? '' : `<p>Body${schemaLink(body)}</p>`}
<pre>${plainText(exampleOf(operation))}</pre>
${tryOutForm(operation)}
<ul>${[...answers, ...refusals].join('\n')}</ul></section>`;
}

/** A request as it is typed, with the example that the table of routes has. */
function exampleOf({ method, path, scope, parameters, body, form, isPayable }: Operation): string {
  const names = parameters === undefined ? {} : (jsonSchema(parameters, 'input').properties ?? {});
  const url = path.replace(/\{(\w+)\}/g, (whole, name: string) => exampleValue(names[name]) ?? whole);
  const lines = [`curl ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}"$URL${url}"`];
  if (scope !== null && isPayable !== true) lines.push(`-H "Authorization: Bearer $KEY"`);
  if (scope !== null && isPayable === true) lines.push(`-H "Authorization: Bearer $KEY"  # or a payment`);
  if (form !== undefined) lines.push("-F purpose=batch -F 'file=@requests.jsonl'");
  if (body?.example !== undefined)
    lines.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(body.example).replaceAll("'", "'\\''")}'`);
  return joined(lines);
}

/** A comment ends its command, so that it stands on the last line. */
function joined(lines: readonly string[]): string {
  const comments = lines.flatMap((line) => /(?<= {2})# .*$/.exec(line)?.[0] ?? []);
  const plain = lines.map((line) => line.replace(/ {2}# .*$/, ''));
  return [...comments, plain.join(' \\\n  ')].join('\n');
}

function exampleValue(schema: unknown): string | undefined {
  if (typeof schema !== 'object' || schema === null || !('examples' in schema)) return undefined;
  const { examples } = schema;
  return Array.isArray(examples) && typeof examples[0] === 'string' ? examples[0] : undefined;
}

function schemaLink({ type, name }: Content): string {
  const words = ` as <code>${markedText(type)}</code>`;
  return name === undefined ? words : `${words}, <a href="#schema-${markedText(name)}">${markedText(name)}</a>`;
}

function schemaSection([name, schema]: readonly [string, unknown]): string {
  return `<section id="schema-${markedText(name)}"><h3>${markedText(name)}</h3>${details('JSON Schema', schema)}</section>`;
}

function details(title: string, schema: unknown): string {
  return `<details><summary>${title}</summary><pre>${plainText(JSON.stringify(schema, null, 2))}</pre></details>`;
}

function headerLines(headers: NonNullable<Operation['headers']>): string {
  const { properties = {} } = jsonSchema(headers, 'input');
  return Object.entries(properties)
    .map(([name, schema]) => {
      const description = typeof schema === 'object' ? (schema.description ?? '') : '';
      return `<p>Header <code>${markedText(name)}</code>: ${markedText(description)}</p>`;
    })
    .join('');
}
