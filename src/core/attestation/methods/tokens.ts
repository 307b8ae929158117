import type { Evidence, Property } from '../../../proof/receipts/statements.ts';
import { canReplay, workOf, type Engine, type Replay } from '../../engines/engine.ts';
import { decodeTokens } from '../../engines/token-ids.ts';
import { limitsOf, sumOfMargins } from '../calibration.ts';
import type { CalibrationFile } from '../calibrations.ts';
import type { Attempt } from './attempt.ts';
import type { Equipment, ModelName } from './equipment.ts';
import { GONE, OFFERED, type Finding, type Method, type Question } from './method.ts';
import { unrepeatable } from './recompute.ts';

type Refusal =
  | 'TOKENS_MISSING'
  | 'TOKENS_MISMATCH'
  | 'TOKENS_TEXT_DIFFERS'
  | 'TOKENS_NOT_WHOLE'
  | 'TOKENS_UNLIKELY'
  | 'TOKEN_OUT_OF_PLACE';

/**
 * The method `tokens`: the attestor scores the claimed tokens on its own copy of the model in one forward
 * pass. With the seed of the ticket it knows what the sampler would have drawn, and by how much the model's
 * logits would have to differ for each token that it would not (Token-DiFR, arXiv 2511.20621, with margins in
 * logits). It catches another model, quantisation, prompt, seed or temperature, edited tokens and answers
 * that were cut. It does not catch what stays within the noise of honest machines. It costs one prefill.
 *
 * On a server that only tells log-probabilities of a prompt, drawn tokens are judged by their likelihood.
 * That catches other models, prompts and edits, and neither another seed nor what is likely as well.
 */
export const tokens: Method<Property> = {
  name: 'tokens',
  stage: 'slow',

  offeredBy(equipment, model) {
    const means = meansOf(equipment, model);
    if (means === undefined)
      return { isOffered: false, why: 'it has no copy of the model that replays, or no calibration' };
    const { name, version } = means.engine.identity;
    const { engine } = means.file.calibration;
    return engine.name === name && engine.version === version
      ? OFFERED
      : { isOffered: false, why: `its calibration is for ${engine.name} ${engine.version}` };
  },

  async unavailable(question, heard) {
    const { model, policy } = question;
    if (policy.tokens === undefined) return undefined;
    const why = unfit(question);
    if (why !== undefined) return why;
    if (await heard.isServed('tokens', model)) return undefined;
    return `No attestor can replay tokens of ${model.name}. Ask without attestation.tokens, or give an attestor the model and its calibration.`;
  },

  isDrawn: ({ ticket, parts }) => parts.isDrawn('tokens', ticket.predicate.policy.tokens ?? 0),

  async check(attempt, signal) {
    const { model } = attempt.ticket.predicate;
    const means = meansOf(attempt.parts.equipment, model);
    if (means === undefined) throw new Error(`This attestor cannot replay tokens of ${model.name}.`);
    const { predicate } = attempt.evidence;
    const stored = await attempt.tokens();
    if (predicate.tokens === undefined) return unread(attempt, means.file, 'TOKENS_MISSING');
    if (stored === undefined) return GONE;
    if (stored.length !== 4 * predicate.usage.outputTokens) return unread(attempt, means.file, 'TOKENS_MISMATCH');
    const work = workOf(attempt.ticket);
    const replay = await means.engine.replay(work, await attempt.input(), decodeTokens(stored), signal);
    return judgeReplay(attempt, replay, means.file, await attempt.output());
  },

  undrawn: (attempt) =>
    attempt.ticket.predicate.policy.tokens === undefined ? {} : { measured: said(attempt, { drawn: false }) },
};

/** What the method takes, where the attestor has it. */
function meansOf(
  equipment: Equipment,
  model: ModelName,
): { engine: Engine & Required<Pick<Engine, 'replay'>>; file: CalibrationFile } | undefined {
  const engine = equipment.engineOf(model);
  const file = equipment.calibrationOf(model);
  return engine !== undefined && canReplay(engine) && file !== undefined ? { engine, file } : undefined;
}

/** For the caller: why tokens of an answer to this question cannot be replayed, whoever tries. */
function unfit({ model, task, params, features }: Question): string | undefined {
  if (task === 'embedding' || params.top_p < 1)
    return 'Tokens can be replayed where the task writes text and top_p is 1. Ask without attestation.tokens, or with top_p 1.';
  const { replay, repeats } = model.capabilities;
  if (replay === undefined) return repeats === 'no' ? unrepeatable(model) : undefined;
  if (params.temperature > replay.maxTemperature || features.length > 0)
    return `Tokens of ${model.name} can be replayed at temperatures up to ${replay.maxTemperature} and where nothing steers the answer. Ask without attestation.tokens, or without tools and response_format.`;
  return undefined;
}

function judgeReplay(
  attempt: Attempt,
  replay: Replay,
  { calibration, sha256 }: CalibrationFile,
  output: string,
): Finding<Property> {
  const { temperature } = attempt.ticket.predicate.params;
  const noise = temperature === 0 ? calibration.greedy : calibration.sampled;
  const { sum, single } = limitsOf(noise, replay.margins.length);
  const margin = sumOfMargins(replay.margins, noise);
  const refusals: Refusal[] = [
    ...(isSameAnswer(replay, attempt.evidence, output) ? [] : (['TOKENS_TEXT_DIFFERS'] as const)),
    ...(replay.isWhole ? [] : (['TOKENS_NOT_WHOLE'] as const)),
    ...(margin <= sum ? [] : (['TOKENS_UNLIKELY'] as const)),
    ...(replay.margins.every((one) => one <= single) ? [] : (['TOKEN_OUT_OF_PLACE'] as const)),
  ];
  const measured = { drawn: true, tokens: replay.margins.length, margin, limit: sum, calibration: { sha256 } };
  return { refusals, properties: ['USAGE_RECOUNTED', 'TOKENS_REPLAYED'], measured: said(attempt, measured) };
}

/** There are no tokens to replay. */
function unread(attempt: Attempt, { sha256 }: CalibrationFile, refusal: Refusal): Finding<Property> {
  const measured = { drawn: true, tokens: 0, margin: 0, limit: 0, calibration: { sha256 } };
  return { refusals: [refusal], measured: said(attempt, measured) };
}

function said({ ticket }: Attempt, done: { drawn: boolean }) {
  return { tokens: { promisedShare: ticket.predicate.policy.tokens, ...done } };
}

function isSameAnswer({ result }: Replay, { predicate }: Evidence, output: string): boolean {
  return (
    result.output === output &&
    result.finishReason === predicate.finishReason &&
    result.usage.inputTokens === predicate.usage.inputTokens &&
    result.usage.outputTokens === predicate.usage.outputTokens
  );
}
