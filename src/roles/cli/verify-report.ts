import type { VerifiedReceipt } from '../../proof/receipts/receipt.ts';
import type { TranscriptLine } from '../../surfaces/checker/transcript.ts';
import { printable } from '../../surfaces/checker/printable.ts';
import { NOT_CHECKED, checkedWords } from '../../surfaces/checker/verdict-words.ts';

/** What a verified receipt says, for people: asked, answered, checked, not checked, price and trust. */
export function reportLines(verified: VerifiedReceipt, transcript: readonly TranscriptLine[], trust: string): string[] {
  const { ticket, evidence, verdict, logged, inputSha256, outputSha256 } = verified;
  const { params, model } = ticket;
  const stop = params.stop.length === 0 ? 'none' : params.stop.map((text) => JSON.stringify(text)).join(' ');
  const seen = logged.witnesses.length === 0 ? 'seen by no witness' : `seen by ${logged.witnesses.join(', ')}`;
  const weights = evidence.model.measured ? 'which it measured' : 'which it did not measure';
  const given = transcript.flatMap(({ result, note }) => (result === 'PASS' && note !== undefined ? [note] : []));
  const gaps = transcript.flatMap(({ result, note }) => (result === 'SKIP' && note !== undefined ? [note] : []));
  return [
    `verified     ${ticket.job}`,
    `asked        a ${ticket.task} of ${model.name}, by ${ticket.tenant}, at ${ticket.createdAt}`,
    `             at most ${params.max_tokens} tokens, temperature ${params.temperature}, top_p ${params.top_p}, seed ${params.seed}, stop ${stop}`,
    `             input of ${ticket.inputBytes} bytes, SHA-256 ${inputSha256}`,
    `answered     by worker ${evidence.worker.id}, attempt ${evidence.epoch}, from ${evidence.startedAt} to ${evidence.finishedAt}`,
    `             with weights ${model.sha256}, ${weights}, engine ${evidence.engine.name} ${evidence.engine.version}`,
    `             ${evidence.usage.inputTokens} tokens in, ${evidence.usage.outputTokens} out, ended by ${evidence.finishReason}`,
    `             output of ${evidence.outputBytes} bytes, SHA-256 ${outputSha256}`,
    `checked      by ${verdict.verifier.id} at ${verdict.timeCreated}, which says:`,
    ...verdict.properties.map((word) => `             ${checkedWords(word)}`),
    ...hardwareLines(verdict.hardware),
    `             here: signatures, promises and place ${logged.index} of the log ${logged.origin}, ${seen}`,
    ...given.map((note) => `             here: ${note}`),
    ...[...verdict.notChecked.map((word) => NOT_CHECKED[word] ?? word), ...gaps].map((gap) => `not checked  ${gap}`),
    `price        ${priceOf(verified)}`,
    `trust        ${trust}`,
  ].map(printable);
}

/** What a verdict says of the machine beside that it has proven itself. */
function hardwareLines(hardware: VerifiedReceipt['verdict']['hardware']): string[] {
  if (hardware === undefined) return [];
  const { properties, warnings, gpus, verifiedAt } = hardware;
  return [
    `             of the machine, at ${verifiedAt}: ${properties.join(' ')}`,
    ...(gpus === undefined ? [] : [`             its GPUs: ${gpus.join(', ')}`]),
    ...warnings.map((word) => `             known of such machines: ${word}`),
  ];
}

function priceOf({ ticket: { price }, charge }: VerifiedReceipt): string {
  if (price === undefined || charge === undefined) return 'none';
  const money = (millionths: number) => `${(millionths / 1_000_000).toFixed(6)} ${price.currency}`;
  return `${money(charge)}, of at most ${money(price.hold)}, by the price table ${price.table.id}`;
}
