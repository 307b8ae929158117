import { z } from 'zod';
import { EngineError } from '../../core/engines/engine.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { ChatOutput, ModelEndpoint } from './model-endpoint.ts';

export const FORMATS = ['json_object', 'json_schema', 'tool_call'] as const;
export type Format = (typeof FORMATS)[number];

export const FORMAT_RESULTS = ['kept', 'broken', 'refused'] as const;
/** `refused`: the server does not take such a request. */
export type FormatResult = (typeof FORMAT_RESULTS)[number];

const MAX_TOKENS = 256;

const Weather = z.strictObject({ city: z.string().min(1), celsius: z.number().int() });
const WEATHER_SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string', minLength: 1 }, celsius: { type: 'integer' } },
  required: ['city', 'celsius'],
  additionalProperties: false,
} as const;
const TOOL = 'report_weather';

/** What is asked for each format, and whether an answer keeps it. */
const CASES: Readonly<Record<Format, { body: object; isKept: (output: ChatOutput) => boolean }>> = {
  json_object: {
    body: {
      messages: [{ role: 'user', content: 'Answer with a JSON object that has the members "city" and "celsius".' }],
      response_format: { type: 'json_object' },
    },
    isKept: ({ message }) => z.looseObject({}).safeParse(jsonOf(message.content)).success,
  },
  json_schema: {
    body: {
      messages: [{ role: 'user', content: 'It is 21 degrees Celsius in Lisbon. Report that as JSON.' }],
      response_format: { type: 'json_schema', json_schema: { name: 'weather', strict: true, schema: WEATHER_SCHEMA } },
    },
    isKept: ({ message }) => Weather.safeParse(jsonOf(message.content)).success,
  },
  tool_call: {
    body: {
      messages: [{ role: 'user', content: 'It is 21 degrees Celsius in Lisbon. Report that with the tool.' }],
      tools: [
        {
          type: 'function',
          function: { name: TOOL, description: 'Reports the weather of a city.', parameters: WEATHER_SCHEMA },
        },
      ],
      tool_choice: 'required',
    },
    isKept: ({ message }) => {
      const calls = message.tool_calls ?? [];
      return (
        calls.length > 0 &&
        calls.every(({ function: call }) => call.name === TOOL && Weather.safeParse(jsonOf(call.arguments)).success)
      );
    },
  },
};

function jsonOf(text: string | null): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
}

export interface FormatCheck {
  readonly format: Format;
  readonly result: FormatResult;
  readonly detail: string;
}

/**
 * Whether a server keeps the formats that it was asked for. The reference is asked the same, so that nobody
 * is blamed for what the model cannot do.
 */
export function checkFormats(server: ModelEndpoint, signal: AbortSignal): Promise<FormatCheck[]> {
  return Promise.all(
    FORMATS.map(async (format): Promise<FormatCheck> => {
      const { body, isKept } = CASES[format];
      try {
        const output = await server.chat({ ...body, max_tokens: MAX_TOKENS, temperature: 0 }, signal);
        return { format, result: isKept(output) ? 'kept' : 'broken', detail: '' };
      } catch (error) {
        signal.throwIfAborted();
        const isRefused = error instanceof EngineError && error.code === 'engine_refused';
        return { format, result: isRefused ? 'refused' : 'broken', detail: messageOf(error).slice(0, 200) };
      }
    }),
  );
}
