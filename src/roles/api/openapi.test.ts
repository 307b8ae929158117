import { describe, expect, test } from '@jest/globals';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { z } from 'zod';
import { docsPage } from './docs-page.ts';
import { openApiDocument } from './openapi.ts';
import { OPERATIONS } from './operations.ts';

const document = openApiDocument();

const Described = z.looseObject({ responses: z.record(z.string(), z.unknown()) });
const Alternatives = z.array(z.unknown()).min(2);
/** A schema that says something: members, or alternatives. */
const Shaped = z.union([
  z.looseObject({ type: z.literal('object'), properties: z.record(z.string(), z.unknown()) }),
  z.looseObject({ anyOf: Alternatives }),
  z.looseObject({ oneOf: Alternatives }),
]);

/** Changes to the linter's stricter set of rules. Each rule that is switched off has its reason. */
const RULES = {
  'parameter-description': 'error',
  // What is open to everyone, such as /health/live, refuses nobody. The tests below see to the other routes.
  'operation-4xx-response': 'off',
} as const;

describe('the OpenAPI description', () => {
  test('is clean by the strict rules of a linter', async () => {
    const config = await createConfig({ extends: ['recommended-strict'], rules: RULES });
    const problems = await lintFromString({ source: JSON.stringify(document), config });
    expect(problems.map(({ ruleId, message, location: [at] }) => [ruleId, message, at?.pointer])).toEqual([]);
  });

  test('every route can succeed, and every route that needs a key can refuse', () => {
    for (const { method, path, scope, success } of OPERATIONS) {
      expect([path, Object.keys(success).length > 0]).toEqual([path, true]);
      const statuses = Object.keys(Described.parse(document.paths[path]?.[method]).responses);
      if (scope !== null) expect(statuses).toEqual(expect.arrayContaining(['401', '403', '429']));
    }
  });

  test('the parameters of a path are those that its operation describes', () => {
    for (const { path, parameters } of OPERATIONS) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect([path, Object.keys(parameters?.shape ?? {})]).toEqual([path, inPath]);
    }
  });

  test('the body of every request and answer of JSON has members that are named', () => {
    for (const { path, body, success } of OPERATIONS)
      for (const content of [body, ...Object.values(success)]) {
        if (content?.type !== 'application/json') continue;
        const schema = Shaped.safeParse(document.components.schemas[content.name ?? '']);
        expect([path, content.name, schema.success]).toEqual([path, content.name, true]);
      }
  });

  test('the page for people names every route and every error', () => {
    const page = docsPage();
    for (const { method, path, errors } of OPERATIONS) {
      expect(page).toContain(`${method.toUpperCase()} ${path}</code>`);
      for (const code of errors) expect(page).toContain(code);
    }
  });

  test('every operation can be sent from the page, with all that it takes', () => {
    const forms = [...docsPage().matchAll(/<form class="try"[\s\S]*?<\/form>/g)].map(([form]) => form);
    expect(forms).toHaveLength(OPERATIONS.length);
    for (const { method, path, scope, parameters, query, headers, body, form } of OPERATIONS) {
      const [one = '', ...more] = forms.filter((html) =>
        html.includes(`data-method="${method}" data-path="${path}"${scope === null ? '>' : ` data-scope="${scope}"`}`),
      );
      expect([path, one === '', more]).toEqual([path, false, []]);
      const named = [
        ...Object.keys(parameters?.shape ?? {}).map((name) => [name, 'path']),
        ...Object.keys(query?.shape ?? {}).map((name) => [name, 'query']),
        ...Object.keys(headers?.shape ?? {}).map((name) => [name, 'header']),
        ...(body === undefined ? [] : [['body', 'body']]),
        ...(form instanceof Object && form.schema instanceof z.ZodObject
          ? Object.keys(form.schema.shape).map((name) => [name, 'form'])
          : []),
      ];
      const there = [...one.matchAll(/name="([^"]+)" data-in="([^"]+)"/g)].map(([, name, place]) => [name, place]);
      expect([path, there]).toEqual([path, named]);
    }
  });

  test('the page has an example of every request, the schemas of its answers, and contents whose links lead somewhere', () => {
    const page = docsPage();
    const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    for (const [, target = ''] of page.matchAll(/href="#([^"]+)"/g))
      expect([target, ids.has(target)]).toEqual([target, true]);
    for (const { id, success, body } of OPERATIONS) {
      const [, section = ''] = new RegExp(`<section id="${id}">([\\s\\S]*?)</section>`).exec(page) ?? [];
      expect([id, section.includes('curl ')]).toEqual([id, true]);
      for (const { name } of [...Object.values(success), ...(body === undefined ? [] : [body])])
        if (name !== undefined) expect([id, section.includes(`href="#schema-${name}"`)]).toEqual([id, true]);
    }
    expect(page).not.toMatch(/<link|<img|javascript:| on[a-z]+=/);
    expect(page.match(/<script.*|src=.*/g)).toEqual([
      '<script type="module" src="/docs/try-out.js"></script></body></html>',
    ]);
  });
});
