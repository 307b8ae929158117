import { z } from 'zod';
import { Problem } from '../../proof/contract/problem.ts';
import { OpenAiError } from '../../surfaces/openai/openai-error.ts';
import type { Content, Operation } from './operation.ts';

type Direction = 'input' | 'output';
type JsonSchema = z.core.JSONSchema.BaseSchema;

const refTo = (name: string) => `#/components/schemas/${name}`;

/** All named schemas: those of requests as they are sent, those of answers as they come. */
export function componentSchemas(operations: readonly Operation[]): Record<string, unknown> {
  const requests = registryOf(operations.flatMap(({ body, form }) => [body, form].filter((one) => one !== undefined)));
  const answers = registryOf(
    operations.flatMap(({ success, streamed }) => [
      ...Object.values(success),
      ...(streamed === undefined ? [] : [streamed]),
    ]),
  );
  answers.add(Problem, { id: 'Problem' });
  answers.add(OpenAiError, { id: 'OpenAiError' });
  const all = { ...schemasOf(requests, 'input'), ...schemasOf(answers, 'output') };
  return Object.fromEntries(Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The schema of a body: by its name where it has one. */
export function schemaOf({ name, schema }: Content): JsonSchema {
  return name === undefined ? jsonSchema(schema, 'output') : { $ref: refTo(name) };
}

export function jsonSchema(schema: z.ZodType, io: Direction): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, target: 'draft-2020-12', override });
  return rest;
}

/** Throws where one name stands for two schemas. */
function registryOf(contents: readonly Content[]): z.core.$ZodRegistry<{ id: string }> {
  const registry = z.registry<{ id: string }>();
  const byName = new Map<string, z.ZodType>();
  for (const { name, schema } of contents) {
    if (name === undefined) continue;
    const known = byName.get(name);
    if (known !== undefined && known !== schema) throw new Error(`Two schemas are named ${name}.`);
    byName.set(name, schema);
    registry.add(schema, { id: name });
  }
  return registry;
}

function schemasOf(registry: z.core.$ZodRegistry<{ id: string }>, io: Direction): Record<string, JsonSchema> {
  const { schemas } = z.toJSONSchema(registry, { io, uri: refTo, target: 'draft-2020-12', override });
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $schema: _schema, $id: _id, ...rest }]) => [name, rest]),
  );
}

/** What zod writes correctly and not helpfully. */
function override({ jsonSchema: schema }: { jsonSchema: JsonSchema }): void {
  // The format says it; zod adds an expression of three lines that a reader cannot use.
  if (schema.format === 'date-time' || schema.format === 'date') delete schema.pattern;
  // A tuple of nothing: JSON Schema wants at least one schema in the list.
  if (schema.prefixItems?.length === 0) delete schema.prefixItems;
  // The bounds of every integer of JavaScript.
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
}
