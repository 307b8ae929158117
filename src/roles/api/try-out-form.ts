import { z } from 'zod';
import { plainText } from './html-text.ts';
import { jsonSchema } from './json-schemas.ts';
import type { Operation } from './operation.ts';

/** What a form needs to know of the schema of a field. */
const Field = z.looseObject({
  description: z.string().optional(),
  examples: z.array(z.unknown()).optional(),
  enum: z.array(z.string()).optional(),
  const: z.string().optional(),
  format: z.string().optional(),
});
type Field = z.infer<typeof Field>;
type Place = 'path' | 'query' | 'header' | 'form';

/**
 * A form that sends one operation from the page, by the script of `try-out.mjs`. It is hidden until that
 * script runs: without it, the page is there to be read.
 */
export function tryOutForm({ method, path, scope, parameters, query, headers, body, form }: Operation): string {
  const facts = [
    `data-method="${method}"`,
    `data-path="${plainText(path)}"`,
    ...(scope === null ? [] : [`data-scope="${scope}"`]),
    ...(form === undefined ? [] : ['data-upload=""']),
  ];
  const fields = [
    ...fieldsOf('path', parameters),
    ...fieldsOf('query', query),
    ...fieldsOf('header', headers),
    ...(form === undefined ? [] : fieldsOf('form', form.schema)),
    ...(body === undefined ? [] : [bodyField(body.example)]),
  ];
  return `<details class="tryout" hidden><summary>Try it</summary><form class="try" ${facts.join(' ')}>
${fields.join('\n')}
<p><button class="send">Send</button> <button type="button" class="stop" hidden>Stop</button></p><output></output></form></details>`;
}

function fieldsOf(place: Place, schema: z.ZodType | undefined): string[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = jsonSchema(schema, 'input');
  return Object.entries(properties).map(([name, one]) => {
    const isNeeded = place === 'path' || (place === 'form' && required.includes(name));
    return labelled(name, Field.parse(one), (field) => inputFor(place, name, field, isNeeded));
  });
}

function labelled(name: string, field: Field, input: (field: Field) => string): string {
  const about = field.description === undefined ? '' : ` <small>${plainText(field.description)}</small>`;
  return `<p><label><code>${plainText(name)}</code> ${input(field)}</label>${about}</p>`;
}

function inputFor(place: Place, name: string, field: Field, isNeeded: boolean): string {
  const facts = `name="${plainText(name)}" data-in="${place}"${isNeeded ? ' required' : ''}`;
  if (field.enum !== undefined) {
    const options = ['', ...field.enum].map((word) => `<option>${plainText(word)}</option>`);
    return `<select ${facts}>${options.join('')}</select>`;
  }
  if (field.format === 'binary') return `<input type="file" ${facts}>`;
  const [example] = field.examples ?? [];
  const hint = typeof example === 'string' ? ` placeholder="${plainText(example)}"` : '';
  return `<input ${facts}${hint} value="${plainText(field.const ?? '')}" autocomplete="off" spellcheck="false">`;
}

function bodyField(example: unknown): string {
  const text = example === undefined ? '' : JSON.stringify(example, null, 2);
  const rows = Math.max(3, text.split('\n').length);
  return `<p><label><code>body</code> <textarea name="body" data-in="body" rows="${rows}" spellcheck="false">${plainText(text)}</textarea></label></p>`;
}
