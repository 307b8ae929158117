import OpenAI from 'openai';
import type { Pipeline } from './pipeline.ts';

/**
 * The official client, with nothing changed but address and key. It tries nothing again, so that a refusal is
 * seen.
 */
export const openaiOf = (pipeline: Pick<Pipeline, 'url'>, apiKey: string): OpenAI =>
  new OpenAI({ baseURL: `${pipeline.url}/v1`, apiKey, maxRetries: 0 });
