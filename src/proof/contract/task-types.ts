/**
 * What each task is asked and what it answers, as plain types: the published client shows them, and its
 * declarations name no library. `contract.test.ts` holds them equal to the schemas in
 * `../tasks/task-input.ts`.
 */
export interface ToolCall {
  id: string;
  type: 'function';
  function: { name: string; arguments: string };
}

export type ChatMessage =
  | { role: 'system' | 'user' | 'assistant'; content: string }
  | { role: 'assistant'; content: string | null; tool_calls: ToolCall[] }
  | { role: 'tool'; content: string; tool_call_id: string };

export interface Tool {
  type: 'function';
  function: {
    name: string;
    description?: string | undefined;
    parameters?: Record<string, unknown> | undefined;
    strict?: boolean | null | undefined;
  };
}

export type ToolChoice = 'none' | 'auto' | 'required' | { type: 'function'; function: { name: string } };

export type ResponseFormat =
  | { type: 'text' | 'json_object' }
  | {
      type: 'json_schema';
      json_schema: {
        name: string;
        description?: string | undefined;
        schema?: Record<string, unknown> | undefined;
        strict?: boolean | null | undefined;
      };
    };

export interface TaskInputs {
  completion: { prompt: string };
  chat: {
    messages: ChatMessage[];
    tools?: Tool[] | undefined;
    tool_choice?: ToolChoice | undefined;
    parallel_tool_calls?: false | undefined;
    response_format?: ResponseFormat | undefined;
    logprobs?: true | undefined;
    top_logprobs?: number | undefined;
    reasoning?:
      | { effort?: 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | undefined; show?: true | undefined }
      | undefined;
  };
  embedding: { texts: string[] };
}

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'none';

export interface TokenLogprob {
  [more: string]: unknown;
  token: string;
  logprob: number;
}

export interface TaskOutputs {
  completion: { text: string; finish_reason: FinishReason };
  chat: {
    message: {
      role: 'assistant';
      content: string | null;
      reasoning_content?: string | undefined;
      tool_calls?: ToolCall[] | undefined;
    };
    finish_reason: FinishReason;
    logprobs?: { content: TokenLogprob[] } | undefined;
  };
  embedding: { embeddings: number[][] };
}

export type TaskName = keyof TaskInputs;
