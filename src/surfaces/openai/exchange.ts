import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { DEFAULTS, SubmitJob, attemptsOf } from '../../proof/contract/submit-job.ts';
import { ReceiptRefused, type VerifiedReceipt } from '../../proof/receipts/receipt.ts';
import { steadySampling } from '../../proof/tasks/sampling.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import { parseRequest } from './parse-request.ts';
import { readRequest } from './requests.ts';
import { ResponseRequest, jobOf } from './response-request.ts';

/** What a receipt commits to of an exchange with the service. */
export type Committed = Pick<VerifiedReceipt, 'ticket' | 'evidence' | 'inputSha256' | 'outputSha256'>;

const ENDPOINT = {
  chat: '/v1/chat/completions',
  completion: '/v1/completions',
  embedding: '/v1/embeddings',
} as const;

/**
 * Compares a request as a client sent it, in OpenAI's shape or as a body of `POST /v1/jobs`, with what the
 * ticket asks, and returns in one sentence what was compared. Throws ReceiptRefused `wrong_input` that says
 * how they differ, and CodedError `request_invalid` for what no request of this task is.
 */
export function compareRequest(body: unknown, committed: Committed): string {
  const { ticket } = committed;
  if (ticket.memories !== undefined && ticket.memories.length > 0)
    throw new CodedError(
      'request_invalid',
      'Memories stood before the question of this request: its input cannot be made again from the request alone.',
      { hint: 'compare the response; the receipt names the memories by their digests' },
    );
  const jobs = jobsOf(body, ticket.task);
  const [best] = jobs
    .map((job) => ({ job, differences: jobDifferences(job, committed) }))
    .toSorted((a, b) => a.differences.length - b.differences.length);
  if (best === undefined) throw new CodedError('request_invalid', 'The request given asks for nothing.');
  if (best.differences.length > 0)
    throw new ReceiptRefused(
      'wrong_input',
      `The request given is not the one of the ticket: ${best.differences.join('; ')}.`,
    );
  const seed = best.job.params?.seed === undefined ? 'the service drew the seed' : 'seed';
  const policy = best.job.attestation === undefined ? '' : ', attestation';
  return `the request given asks what the ticket asks: model, input, max_tokens, temperature, top_p, stop${policy} are equal, and ${seed}${seed === 'seed' ? ' too' : ''}`;
}

/** The jobs that a request makes, one for each choice. */
function jobsOf(body: unknown, task: Committed['ticket']['task']): readonly SubmitJob[] {
  if (typeof body !== 'object' || body === null) throw new CodedError('request_invalid', 'A request is a JSON object.');
  if ('task' in body) return [parseRequest(SubmitJob, body)];
  if (task === 'chat' && 'input' in body) return [jobOf(parseRequest(ResponseRequest, body)).job];
  return readRequest(ENDPOINT[task], body).jobs;
}

/**
 * In which members a job, as it was asked for, differs from the ticket; none where this is its ticket. What
 * was left to the service (a seed, a policy, attempts, a deadline) is not compared, nor is `not_before`, of
 * which the ticket says nothing.
 */
export function jobDifferences(job: SubmitJob, { ticket, inputSha256 }: Committed): string[] {
  const { max_tokens, temperature, top_p } = DEFAULTS;
  const { seed, ...wanted } = { max_tokens, stop: [], ...job.params };
  const drawn = { temperature: wanted.temperature ?? temperature, top_p: wanted.top_p ?? top_p };
  const asked = { ...wanted, ...steadySampling(drawn) };
  const lifeMs = Date.parse(ticket.deadline) - Date.parse(ticket.createdAt);
  const sha256 = sha256Hex(JSON.stringify(job.input));
  const pairs: [name: string, given: unknown, committed: unknown][] = [
    ['model', job.model, ticket.model.name],
    ['task', job.task, ticket.task],
    ['the SHA-256 of the input (prompt, messages, tools, format)', sha256, inputSha256],
    ...paired(asked, ticket.params),
    ...(job.attempts === undefined ? [] : paired({ attempts: attemptsOf(job.attempts, ticket.policy) }, ticket)),
    ...(job.deadline_ms === undefined ? [] : paired({ deadline_ms: job.deadline_ms }, { deadline_ms: lifeMs })),
    ...(seed === undefined ? [] : paired({ seed }, ticket.params)),
    ...paired(job.attestation ?? {}, ticket.policy).map(([name, ...values]): [string, unknown, unknown] => [
      `attestation.${name}`,
      ...values,
    ]),
  ];
  return differencesOf(pairs, 'ticket');
}

function paired(given: object, committed: object): [string, unknown, unknown][] {
  const held = new Map<string, unknown>(Object.entries(committed));
  return Object.entries(given).map(([name, value]) => [name, value, held.get(name)]);
}

function differencesOf(pairs: readonly [string, unknown, unknown][], document: string): string[] {
  return pairs.flatMap(([name, given, committed]) => {
    const [here, there] = [shown(given), shown(committed)];
    return here === there ? [] : [`${name} is ${here} as given, and ${there} in the ${document}`];
  });
}

const shown = (value: unknown): string => (value === undefined ? 'absent' : JSON.stringify(value));

const ToolCalls = z.array(z.unknown()).nullish();
const Chat = z.looseObject({
  object: z.literal('chat.completion'),
  model: z.string(),
  choices: z.array(
    z.looseObject({
      message: z.looseObject({
        content: z.string().nullable(),
        reasoning_content: z.string().nullish(),
        tool_calls: ToolCalls,
      }),
      finish_reason: z.string().nullable(),
      logprobs: z.unknown(),
    }),
  ),
});
const Text = z.looseObject({
  object: z.literal('text_completion'),
  model: z.string(),
  choices: z.array(z.looseObject({ text: z.string(), finish_reason: z.string().nullable() })),
});
const Embeddings = z.looseObject({
  object: z.literal('list'),
  model: z.string(),
  data: z.array(
    z.looseObject({
      embedding: z.array(z.number(), { error: 'base64 holds rounded numbers: ask for encoding_format float' }),
    }),
  ),
});
const Part = z.looseObject({ type: z.literal('output_text'), text: z.string() });
const Response = z.looseObject({
  object: z.literal('response'),
  model: z.string(),
  output: z.array(
    z.discriminatedUnion('type', [
      z.looseObject({ type: z.literal('message'), content: z.array(Part) }),
      z.looseObject({
        type: z.literal('reasoning'),
        summary: z.array(z.looseObject({ type: z.literal('summary_text'), text: z.string() })),
      }),
      z.looseObject({ type: z.literal('function_call'), call_id: z.string(), name: z.string(), arguments: z.string() }),
    ]),
  ),
});
const Answer = z.discriminatedUnion('object', [Chat, Text, Embeddings, Response]);
type Answer = z.infer<typeof Answer>;

/**
 * Compares a response as an OpenAI client got it, not streamed, with what the evidence says, and returns in
 * one sentence what was compared. Throws ReceiptRefused `wrong_output` that says how they differ, and
 * CodedError `request_invalid` for what no response is.
 */
export function compareResponse(body: unknown, { ticket, evidence, outputSha256 }: Committed): string {
  const answer = parseRequest(Answer, body);
  const outputs = outputsOf(answer, evidence.finishReason);
  const at = outputs.findIndex((forms) => forms.some((form) => sha256Hex(JSON.stringify(form)) === outputSha256));
  const differences = differencesOf([['model', answer.model, ticket.model.name]], 'ticket');
  if (at < 0) {
    const first = sha256Hex(JSON.stringify(outputs[0]?.[0] ?? null));
    const ends = outputs.flatMap(([form]) => endOf(form));
    if (ends.length > 0 && !ends.includes(evidence.finishReason))
      differences.push(`finish_reason is ${ends.join(', ')} as given, and ${evidence.finishReason} in the evidence`);
    differences.unshift(
      `none of its ${outputs.length} answers has the SHA-256 ${outputSha256}; the first has ${first}`,
    );
  }
  if (differences.length > 0)
    throw new ReceiptRefused(
      'wrong_output',
      `The response given is not the answer that was confirmed: ${differences.join('; ')}.`,
    );
  return `answer ${at} of the ${outputs.length} of the response given is the one that was confirmed: text, tool calls, end and model are equal`;
}

function endOf(form: object | undefined): string[] {
  return form !== undefined && 'finish_reason' in form ? [String(form.finish_reason)] : [];
}

/** For each answer in it, how the output can read that became this answer. */
function outputsOf(answer: Answer, finishReason: string): object[][] {
  switch (answer.object) {
    case 'chat.completion':
      return answer.choices.map(({ message, finish_reason, logprobs }) => chatForms(message, finish_reason, logprobs));
    case 'text_completion':
      return answer.choices.map(({ text, finish_reason }) => [{ text, finish_reason }]);
    case 'list':
      return [[{ embeddings: answer.data.map(({ embedding }) => embedding) }]];
    case 'response':
      return [responseForms(answer.output, finishReason)];
  }
}

function responseForms(output: Extract<Answer, { object: 'response' }>['output'], finish_reason: string): object[] {
  const texts = output.flatMap((item) => (item.type === 'message' ? item.content : []));
  const thoughts = output.flatMap((item) => (item.type === 'reasoning' ? item.summary : []));
  const tool_calls = output.flatMap((item) =>
    item.type === 'function_call'
      ? [{ id: item.call_id, type: 'function', function: { name: item.name, arguments: item.arguments } }]
      : [],
  );
  const content = texts.length === 0 && tool_calls.length > 0 ? null : joined(texts);
  const reasoning_content = thoughts.length === 0 ? undefined : joined(thoughts);
  const forms = chatForms({ content, reasoning_content, tool_calls }, finish_reason, undefined);
  // A response shows an empty text beside calls as none.
  const empty = { content: '', reasoning_content, tool_calls };
  return content === null ? [...forms, ...chatForms(empty, finish_reason, undefined)] : forms;
}

const joined = (parts: readonly { readonly text: string }[]): string => parts.map(({ text }) => text).join('');

interface Said {
  readonly content: string | null;
  readonly reasoning_content?: string | null | undefined;
  readonly tool_calls?: readonly unknown[] | null | undefined;
}

function chatForms(
  { content, reasoning_content, tool_calls }: Said,
  finish_reason: string | null,
  logprobs: unknown,
): object[] {
  const message = {
    role: 'assistant',
    content,
    ...(reasoning_content == null ? {} : { reasoning_content }),
    ...(tool_calls == null || tool_calls.length === 0 ? {} : { tool_calls }),
  };
  const parsed = OUTPUTS.chat.safeParse({ message, finish_reason, ...(logprobs == null ? {} : { logprobs }) });
  return parsed.success ? [parsed.data] : [];
}
