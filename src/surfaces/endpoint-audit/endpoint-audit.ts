import { EngineError } from '../../core/engines/engine.ts';
import { PromptLogprobs } from '../../core/engines/prompt-logprobs.ts';
import { encodeTokens } from '../../core/engines/token-ids.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { verdictOf, type AuditReport } from './audit-report.ts';
import { checkFormats } from './format-checks.ts';
import type { ModelEndpoint } from './model-endpoint.ts';
import { questionsOf, type AuditPlan, type AuditQuestion } from './questions.ts';
import { readAnswer, type Reading } from './reading.ts';
import { noiseFrom, type AuditNoise } from './verdict.ts';

/** So many requests are under way at once. */
const LANES = 4;
/** Of an endpoint whose answers cannot be read nothing is said; a cheat could tell only what suits it. */
const LEAST_READ = 0.8;

export interface AuditedServers {
  readonly endpoint: ModelEndpoint;
  readonly reference: ModelEndpoint;
  /** Where the noise of honest servers comes from: a second one of them, or what was measured before. */
  readonly noise: { readonly honest: ModelEndpoint } | { readonly file: AuditNoise } | undefined;
}

type Steps = 'noise' | 'answers' | 'formats';
export type AuditProgress = (step: Steps, done: number, of: number) => void;

/** What an audit found. */
export interface Audited {
  readonly report: Omit<AuditReport, 'auditor' | 'endpoint' | 'reference' | 'evidence'>;
  /** The prompts, answers and tokens, for whoever wants to judge them by a reference of their own. */
  readonly evidence: Buffer;
}

/**
 * Asks an endpoint and judges its answers by the reference. Throws CodedErrors `endpoint_unfit` where one of
 * the servers does not tell what is needed, and `endpoint_away` where one does not answer.
 */
export async function auditEndpoint(
  { endpoint, reference, noise }: AuditedServers,
  plan: AuditPlan,
  signal: AbortSignal,
  onProgress: AuditProgress,
): Promise<Audited> {
  const startedAt = new Date().toISOString();
  const judge = new PromptLogprobs(reference.model, reference.post);
  const ask = (server: ModelEndpoint, who: string, step: Steps) =>
    readAll(questionsOf(plan), { server, who, judge }, signal, (done) => onProgress(step, done, plan.answers));
  await probe(judge, plan, signal);
  const measured =
    noise === undefined
      ? { from: 'reference' as const, ...noiseOfServer(await ask(reference, 'reference', 'noise'), true) }
      : 'honest' in noise
        ? { from: 'honest' as const, ...noiseOfServer(await ask(noise.honest, 'honest server', 'noise'), false) }
        : { from: 'file' as const, ...noise.file };
  const readings = await ask(endpoint, 'endpoint', 'answers');
  const answers = readings.map(reportOf);
  onProgress('formats', 0, 1);
  const formats = plan.task === 'chat' ? await bothFormats(endpoint, reference, signal) : {};
  return {
    report: {
      version: 1,
      task: plan.task,
      startedAt,
      finishedAt: new Date().toISOString(),
      noise: measured,
      answers,
      ...formats,
      verdict: verdictOf({ answers, noise: measured }),
    },
    evidence: Buffer.from(readings.map((reading) => `${JSON.stringify(evidenceOf(reading))}\n`).join('')),
  };
}

/** Finds a reference that cannot judge before anything is asked of the endpoint. */
async function probe(judge: PromptLogprobs, { prompts }: AuditPlan, signal: AbortSignal): Promise<void> {
  try {
    const { tokens } = await judge.tokenize({ prompt: prompts[0] ?? '' }, signal);
    await judge.score(tokens, 1, signal);
  } catch (cause) {
    throw failureOf('reference', cause, 'it must tell /tokenize, /detokenize and prompt_logprobs, as vLLM does');
  }
}

interface Asked {
  readonly server: ModelEndpoint;
  readonly who: string;
  readonly judge: PromptLogprobs;
}

/** All answers of a server, read; in the order of the questions. */
async function readAll(
  questions: readonly AuditQuestion[],
  { server, who, judge }: Asked,
  signal: AbortSignal,
  onProgress: (done: number) => void,
): Promise<Reading[]> {
  const readings = new Map<number, Reading>();
  const waiting = [...questions.entries()];
  // One that fails ends the audit: the others are not worth their tokens then.
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined && !either.aborted; next = waiting.shift()) {
      const [at, question] = next;
      const answer = await server.answer(question, either).catch((cause: unknown) => {
        throw failureOf(who, cause);
      });
      const reading = await readAnswer(judge, question, answer, either).catch((cause: unknown) => {
        throw failureOf('reference', cause);
      });
      readings.set(at, reading);
      onProgress(readings.size);
    }
  };
  const lanes = Array.from({ length: LANES }, () => lane());
  await Promise.all(lanes).finally(() => stop.abort());
  signal.throwIfAborted();
  const read = questions.flatMap((_, at) => readings.get(at) ?? []);
  refuseUnread(read, who);
  return read;
}

/** Throws CodedError `endpoint_unfit` where too few answers of a kind can be read. */
function refuseUnread(readings: readonly Reading[], who: string): void {
  for (const isGreedy of [true, false]) {
    const own = readings.filter(({ question }) => (question.temperature === 0) === isGreedy);
    const unread = own.flatMap((reading) => ('unread' in reading ? [reading.unread] : []));
    if (own.length > 0 && own.length - unread.length >= Math.max(1, LEAST_READ * own.length)) continue;
    const why = [...new Set(unread)].join(', ');
    throw new CodedError(
      'endpoint_unfit',
      `Of ${own.length} answers of the ${who}${isGreedy ? ' at temperature 0' : ''}, ${unread.length} cannot be read: ${why}.`,
      {
        hint: unread.includes('tokens_untold')
          ? 'it must tell the tokens of its answers: return_token_ids, as vLLM does, or logprobs in a chat'
          : 'the model, its tokenizer and its template must be those of the reference; docs/endpoint-audit.md',
      },
    );
  }
}

function failureOf(who: string, cause: unknown, needed?: string): unknown {
  if (!(cause instanceof EngineError))
    return cause instanceof CodedError
      ? cause
      : new CodedError('endpoint_away', `The ${who} does not answer: ${messageOf(cause).slice(0, 200)}.`, { cause });
  const said = cause.cause instanceof Error ? cause.cause.message : cause.message;
  const sentence = `The ${who} failed: ${said.slice(0, 300)}`;
  return cause.code === 'engine_overloaded'
    ? new CodedError('endpoint_away', sentence, { cause })
    : new CodedError('endpoint_unfit', sentence, { cause, ...(needed === undefined ? {} : { hint: needed }) });
}

function noiseOfServer(readings: readonly Reading[], isOneMachine: boolean): AuditNoise {
  const judged = readings.flatMap((reading) =>
    'margins' in reading ? [{ temperature: reading.question.temperature, margins: reading.margins }] : [],
  );
  return noiseFrom(judged, { isOneMachine });
}

async function bothFormats(endpoint: ModelEndpoint, reference: ModelEndpoint, signal: AbortSignal) {
  const [own, known] = await Promise.all([checkFormats(endpoint, signal), checkFormats(reference, signal)]);
  return { formats: { endpoint: own, reference: known } };
}

function reportOf(reading: Reading): AuditReport['answers'][number] {
  const { question, answer } = reading;
  return {
    prompt: sha256Hex(question.prompt),
    temperature: question.temperature,
    seed: question.seed,
    output: sha256Hex(answer.text),
    finishReason: answer.finishReason,
    usage: answer.usage,
    read:
      'unread' in reading
        ? { unread: reading.unread }
        : {
            promptTokens: reading.promptTokens,
            tokens: sha256Hex(encodeTokens(reading.tokens)),
            margins: [...reading.margins],
          },
  };
}

function evidenceOf(reading: Reading): object {
  const { question, answer } = reading;
  return { ...question, text: answer.text, ...('tokens' in reading ? { tokens: reading.tokens } : {}) };
}
