import { z } from 'zod';
import { JobId } from '../../proof/receipts/fields.ts';
import { MAX_RECEIPT_BYTES } from '../../proof/receipts/receipt.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { examine } from '../checker/examine.ts';
import type { CallerApi } from '../http/caller-api.ts';
import { mcpTool, type McpTool } from './mcp-tool.ts';

/** A client waits a minute for a tool by default. */
const MAX_WAIT_S = 30;

const pathOf = (job: string, more = '') => `/v1/jobs/${encodeURIComponent(job)}${more}`;

const Message = z.strictObject({ role: z.enum(['system', 'user', 'assistant']), content: z.string() });

/** The tools that submit jobs, look at them, and verify their receipts. */
export const JOB_TOOLS: readonly McpTool[] = [
  mcpTool(
    {
      name: 'submit_job',
      title: 'Submit a job',
      description: 'Asks a model of the service. The answer counts once an attestor has confirmed it: `state` is done.',
      nature: {},
    },
    z.strictObject({
      model: z.string().min(1).max(500),
      prompt: z.string().min(1).optional().describe('a text to go on with'),
      messages: z.array(Message).min(1).max(1_000).optional().describe('a conversation, in place of a prompt'),
      max_tokens: z.int().min(1).optional(),
      wait_s: z.int().min(0).max(MAX_WAIT_S).default(MAX_WAIT_S).describe('for how many seconds it is waited for'),
    }),
    async ({ model, prompt, messages, max_tokens, wait_s: waitS }, { api }) => {
      if ((prompt === undefined) === (messages === undefined))
        throw new CodedError('request_invalid', 'Give either a prompt or messages.');
      const asked =
        messages === undefined ? { task: 'completion', input: { prompt } } : { task: 'chat', input: { messages } };
      const params = max_tokens === undefined ? {} : { params: { max_tokens } };
      const job = await api.submit({ model, ...asked, ...params }, { waitS: waitS === 0 ? undefined : waitS });
      return { job, output: await outputOf(api, job) };
    },
  ),
  mcpTool(
    {
      name: 'get_job',
      title: 'Look at a job',
      description: 'Says how a job stands; once it is done, its confirmed output too.',
      nature: { reads: true },
    },
    z.strictObject({ job: JobId }),
    async ({ job: id }, { api }) => {
      const job = z.looseObject({ id: z.string(), state: z.string() }).parse(await api.json(pathOf(id)));
      return { job, output: await outputOf(api, job) };
    },
  ),
  mcpTool(
    {
      name: 'verify_receipt',
      title: 'Verify a receipt',
      description:
        'Checks the receipt of a job, or the text of one, step by step. `trust` says by whose keys; SKIP is not PASS.',
      nature: { reads: true },
    },
    z.strictObject({
      job: JobId.optional().describe('whose receipt is fetched'),
      receipt: z.string().min(1).max(MAX_RECEIPT_BYTES).optional().describe('the text of a receipt, in place of a job'),
    }),
    async ({ job, receipt }, { api, trusted }) => {
      if ((job === undefined) === (receipt === undefined))
        throw new CodedError('request_invalid', 'Give either a job or the text of a receipt.');
      const bytes = job === undefined ? Buffer.from(receipt ?? '') : await api.bytes(pathOf(job, '/receipt'));
      return examine(bytes, await trusted()).answer;
    },
  ),
];

/** The output of a job that is done, where it was not erased since; null otherwise. */
async function outputOf(api: CallerApi, { id, state }: { id: string; state: string }): Promise<unknown> {
  if (state !== 'done') return null;
  try {
    return await api.json(pathOf(id, '/output'));
  } catch (error) {
    if (error instanceof CodedError && error.code === 'erased') return null;
    throw error;
  }
}
