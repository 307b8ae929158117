import type { CallToolResult } from '@modelcontextprotocol/server';
import type { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { McpSetting } from './mcp-setting.ts';

/** What a client may know of a tool before it asks its user. */
interface Nature {
  /** It changes nothing. */
  readonly reads?: true;
  /** It takes something away for good. */
  readonly destroys?: true;
}

/** One tool: what a client is told of it, what it takes, and what it does. */
export interface McpTool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly nature: Nature;
  readonly input: z.ZodObject;
  readonly run: (input: unknown, setting: McpSetting) => Promise<CallToolResult>;
}

/** A tool whose input is as its schema says; it answers a document, or a whole result. */
export function mcpTool<Input extends z.ZodObject>(
  about: Omit<McpTool, 'input' | 'run'>,
  input: Input,
  run: (input: z.infer<Input>, setting: McpSetting) => Promise<object>,
): McpTool {
  return {
    ...about,
    input,
    run: async (given, setting) => {
      try {
        return documentResult(await run(input.parse(given), setting));
      } catch (error) {
        return errorResult(error, setting);
      }
    },
  };
}

function documentResult(document: object): CallToolResult {
  return {
    content: [{ type: 'text', text: JSON.stringify(document) }],
    structuredContent: { ...document },
  };
}

/** The code and the sentence of an error, as HTTP and the command line say them. */
function errorResult(error: unknown, setting: McpSetting): CallToolResult {
  const coded = error instanceof CodedError ? error : new CodedError('internal', 'The tool failed.', { cause: error });
  if (coded.status === 500) setting.failed(error);
  const { code, message, hint } = coded;
  const text = `${code}: ${message}${hint === undefined ? '' : ` (${hint})`}`;
  return { isError: true, content: [{ type: 'text', text }], structuredContent: { code, message, hint } };
}
