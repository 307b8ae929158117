import { JsonRefused, parseStrictJson } from '../../ground/json/strict-json.ts';
import type { FinishReason, Task } from '../receipts/fields.ts';
import { MAX_OUTPUT_DEPTH, OUTPUTS } from './task-input.ts';

/**
 * Why this text is no output of the task that ended so; undefined where it is one. The worker asks before it
 * signs, and the attestor before it confirms.
 */
export function outputFault(task: Task, output: string, finishReason: FinishReason): string | undefined {
  try {
    const parsed = OUTPUTS[task].safeParse(parseStrictJson(output, { maxDepth: MAX_OUTPUT_DEPTH }));
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'it has another shape'}`;
    }
    const finish = 'finish_reason' in parsed.data ? parsed.data.finish_reason : 'none';
    return finish === finishReason ? undefined : `it ends with ${finish} and was told to end with ${finishReason}`;
  } catch (error) {
    if (error instanceof JsonRefused) return error.message;
    throw error;
  }
}
