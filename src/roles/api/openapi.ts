import type { z } from 'zod';
import { ERROR_CATALOG, type ErrorCode } from '../../ground/errors/catalog.ts';
import type { OpenApiDocument } from './directory.schemas.ts';
import { componentSchemas, jsonSchema, schemaOf } from './json-schemas.ts';
import type { Content, Operation } from './operation.ts';
import { TAGS } from './operation-tags.ts';
import { OPERATIONS } from './operations.ts';
import { isOpenAiPath } from './problem.filter.ts';

/** What any route that needs an API key may answer besides. */
const COMMON_ERRORS = [
  'unauthenticated',
  'scope_missing',
  'rate_limited',
  'storage_unavailable',
  'storage_full',
  'internal',
] as const satisfies readonly ErrorCode[];

/** The OpenAPI description, made from the table of routes. */
export function openApiDocument(): OpenApiDocument {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of OPERATIONS)
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describe(operation) };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Countersign',
      version: '0.1.0',
      description: 'Inference jobs that are done only when a separate attestor has confirmed them.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'an API key, `csk_…`' },
        payment: {
          type: 'apiKey',
          in: 'header',
          name: 'Payment-Signature',
          description: 'a payment by x402, where the operator sells by the request',
        },
      },
      schemas: componentSchemas(OPERATIONS),
    },
  };
}

function describe(operation: Operation): Record<string, unknown> {
  const { id, tag, summary, description, scope, parameters, query, headers } = operation;
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: scope === null ? [] : [{ key: [] }, ...(operation.isPayable === true ? [{ payment: [] }] : [])],
    ...(scope === null ? {} : { 'x-scope': scope }),
    parameters: [
      ...parametersOf('path', parameters),
      ...parametersOf('query', query),
      ...parametersOf('header', headers),
    ],
    ...requestBody(operation),
    responses: { ...successes(operation), ...failures(operation) },
  };
}

function parametersOf(place: 'path' | 'query' | 'header', parameters: z.ZodObject | undefined): object[] {
  if (parameters === undefined) return [];
  const { properties = {}, required = [] } = jsonSchema(parameters, 'input');
  return Object.entries(properties).map(([name, schema]) => {
    const { description, ...rest } = typeof schema === 'object' ? schema : {};
    return {
      name,
      in: place,
      required: required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema: rest,
    };
  });
}

function requestBody({ body, form }: Operation): object {
  const content = body ?? form;
  if (content === undefined) return {};
  return { requestBody: { required: content.isOptional !== true, content: mediaType(content) } };
}

function mediaType(content: Content): Record<string, unknown> {
  const { type, example } = content;
  return { [type]: { schema: schemaOf(content), ...(example === undefined ? {} : { example }) } };
}

function successes({ success, streamed }: Operation): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(success).map(([status, content]) => [
      status,
      {
        description: content.description,
        content: { ...mediaType(content), ...(streamed === undefined || status !== '200' ? {} : mediaType(streamed)) },
      },
    ]),
  );
}

/** The errors by their status; the ones that share a status are told apart by their code. */
function failures({ path, scope, errors }: Operation): Record<string, unknown> {
  const byStatus = new Map<string, ErrorCode[]>();
  for (const code of new Set<ErrorCode>([...errors, ...(scope === null ? [] : COMMON_ERRORS)])) {
    const status = String(ERROR_CATALOG[code].status);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const [type, name] = isOpenAiPath(path)
    ? ['application/json', 'OpenAiError']
    : ['application/problem+json', 'Problem'];
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      {
        description: codes.map((code) => `\`${code}\`: ${ERROR_CATALOG[code].title}`).join('; '),
        content: { [type]: { schema: { $ref: `#/components/schemas/${name}` } } },
      },
    ]),
  );
}
