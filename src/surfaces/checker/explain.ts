import { BINDING_PROPERTIES } from '../../proof/receipts/promises/binding.ts';
import type { VerifiedReceipt } from '../../proof/receipts/receipt.ts';
import type { Answer, Examination } from './examine.ts';
import { checkedWords } from './verdict-words.ts';

/** One thing that a receipt proves, or does not. */
export interface Point {
  readonly title: string;
  readonly text: string;
  /** Words of the verdict that say so. */
  readonly codes?: readonly string[];
}

/** What an examination means, in plain words for people who have read no specification. */
export interface Explanation {
  readonly title: string;
  readonly sentence: string;
  readonly proves: readonly Point[];
  readonly doesNotProve: readonly Point[];
  /** Ticket, evidence and verdict; undefined where the receipt does not hold. */
  readonly documents: { readonly ticket: string; readonly evidence: string; readonly verdict: string } | undefined;
}

/** How a time of the documents (ISO 8601) is written for its reader. */
export type Clock = (iso: string) => string;

/** Says what an examination found. Every word of a document in it is still to be shown as text. */
export function explain({ answer, verified }: Examination, clock: Clock): Explanation {
  const documents = verified && documentsOf(verified, clock);
  if (!answer.verified) return { ...refusedWords(answer, verified), documents };
  const { verdict, evidence, ticket } = answer;
  return {
    title: 'The receipt holds',
    sentence: `On ${clock(verdict.timeCreated)}, attestor ${attestorOf(answer)} confirmed the answer that worker ${short(evidence.worker.id)} gave to the question of ${ticket.tenant}.`,
    proves: provenBy(answer),
    doesNotProve: openIn(answer),
    documents,
  };
}

type Held = Extract<Answer, { verified: true }>;
const hasPassed = ({ transcript }: Answer, step: string): boolean =>
  transcript.some((line) => line.step === step && line.result === 'PASS');
const noteOf = ({ transcript }: Answer, step: string): string =>
  sentence(transcript.find((line) => line.step === step)?.note ?? '');

function provenBy(answer: Held): Point[] {
  const { evidence, verdict, logged, ticket } = answer;
  const seen =
    logged.witnesses.length === 0
      ? 'a log that its operator signs'
      : `a log that ${counted(logged.witnesses.length, 'outsider')} signed: ${logged.witnesses.join(', ')}`;
  return [
    {
      title: 'Who said what',
      text: `The service of ${ticket.tenant} asked, worker ${short(evidence.worker.id)} answered, attestor ${attestorOf(answer)} confirmed; each signed.`,
    },
    { title: 'That it was checked as promised', text: findings(verdict.properties) },
    {
      title: 'That it cannot be taken back',
      text: `The verdict is entry ${whole(logged.index)} of ${seen}.`,
    },
    ...(hasPassed(answer, 'output')
      ? [{ title: 'That your answer is the confirmed one', text: noteOf(answer, 'output') }]
      : []),
    ...(hasPassed(answer, 'input')
      ? [{ title: 'That your question is the one that was asked', text: noteOf(answer, 'input') }]
      : []),
    ...(hasPassed(answer, 'checkpoint')
      ? [{ title: 'That you and the receipt have seen one log', text: noteOf(answer, 'checkpoint') }]
      : []),
    ...(answer.charge === undefined ? [] : [{ title: 'What it cost', text: `${priceWords(answer)}.` }]),
  ];
}

/** What is found of every receipt by its signatures alone; the rest is what the policy promised. */
const OF_EVERY_RECEIPT = new Set<string>(BINDING_PROPERTIES);

function findings(properties: Held['verdict']['properties']): string {
  const more = properties.filter((word) => !OF_EVERY_RECEIPT.has(word)).map(checkedWords);
  if (more.length === 0)
    return 'The attestor compared signatures, ticket, model and digests. The ticket promised no more, and the answer itself was not computed again.';
  return `Beside signatures, ticket, model and digests: ${more.join('; ')}.`;
}

function openIn(answer: Held): Point[] {
  const { verdict, trust, logged } = answer;
  const { properties, notChecked } = verdict;
  const isReplayed = properties.includes('TOKENS_REPLAYED');
  const isComputed = isReplayed || !notChecked.includes('OUTPUT_NOT_RECOMPUTED');
  return [
    { title: 'That the answer is true or good', text: 'It is what this model writes; models are wrong.' },
    ...gapsOf(notChecked, isReplayed),
    ...(isComputed
      ? [
          {
            title: 'That worker and attestor are not both wrong',
            text: 'The same faulty build on both sides would agree with itself.',
          },
        ]
      : []),
    ...(verdict.hardware?.warnings ?? []).map((word) => ({
      title: 'That this kind of machine cannot be broken into',
      text: 'A weakness is known of such machines.',
      codes: [word],
    })),
    ...(logged.witnesses.length === 0
      ? [
          {
            title: 'That everybody was shown the same log',
            text: 'No outside witness has signed it; a checkpoint that you kept can show a second history.',
          },
        ]
      : []),
    ...(hasPassed(answer, 'output')
      ? []
      : [{ title: 'That the text in your hands is the confirmed one', text: 'You gave no answer to compare.' }]),
    {
      title: 'That the keys are whose you think',
      text:
        trust.from === 'first use'
          ? 'You have this keyring from the service itself.'
          : 'The keyring is as good as the way by which you got it.',
    },
  ];
}

function gapsOf(notChecked: readonly string[], isReplayed: boolean): Point[] {
  const words: Readonly<Record<string, Omit<Point, 'codes'>>> = {
    OUTPUT_NOT_RECOMPUTED: isReplayed
      ? {
          title: 'That another answer, as likely, was not left out',
          text: 'It was not computed again byte for byte.',
        }
      : { title: 'That the model gives this answer', text: 'Nobody computed it again.' },
    WEIGHTS_DECLARED_NOT_MEASURED: {
      title: 'Which weights the worker used',
      text: 'The operator declared them, and the worker did not measure them.',
    },
    HARDWARE_NOT_ATTESTED: {
      title: 'Which machine the worker used',
      text: 'It showed no hardware evidence.',
    },
  };
  return notChecked.map((word) => ({ ...(words[word] ?? { title: word, text: 'Not checked.' }), codes: [word] }));
}

/** Where only what was compared with a sound receipt is not what it speaks of. */
const COMPARED = {
  wrong_output: 'answer',
  wrong_input: 'question',
} as const;

function refusedWords(
  answer: Extract<Answer, { verified: false }>,
  verified: VerifiedReceipt | undefined,
): Omit<Explanation, 'documents'> {
  const title = 'Do not rely on this receipt';
  const compared =
    answer.reason === 'wrong_output' || answer.reason === 'wrong_input' ? COMPARED[answer.reason] : undefined;
  if (verified !== undefined && compared !== undefined)
    return {
      title,
      sentence: `The receipt is sound, but the ${compared} that you gave is not the one it speaks of. Somebody changed it on its way, or it belongs to another job.`,
      proves: [
        {
          title: `That some ${compared} was ${compared === 'answer' ? 'confirmed' : 'asked'}`,
          text: `Worker, attestor and log agree on the one with the SHA-256 ${short(compared === 'answer' ? verified.outputSha256 : verified.inputSha256)}.`,
        },
        { title: 'That it is not yours', text: answer.detail },
      ],
      doesNotProve: [
        { title: 'Who changed it', text: 'Ask whoever gave it to you for the file as it came.' },
        { title: 'That the confirmed answer is true or good', text: 'It is what this model writes; models are wrong.' },
      ],
    };
  return {
    title,
    sentence: answer.detail,
    proves: [
      {
        title: 'Nothing that you could rely on',
        text: 'A receipt holds as a whole or not at all; a line that passed below proves nothing by itself.',
      },
    ],
    doesNotProve: [
      { title: 'That somebody is to blame', text: 'A file that was damaged on its way fails as a forged one does.' },
      {
        title: 'That the job was not confirmed',
        text: 'Fetch the receipt again from the service, and check that one.',
      },
    ],
  };
}

function documentsOf(verified: VerifiedReceipt, clock: Clock): NonNullable<Explanation['documents']> {
  return {
    ticket: ticketWords(verified, clock),
    evidence: evidenceWords(verified, clock),
    verdict: verdictWords(verified, clock),
  };
}

const ARTICLES = { chat: 'a chat answer', completion: 'a completion', embedding: 'an embedding' } as const;

function ticketWords({ ticket }: VerifiedReceipt, clock: Clock): string {
  const { params, model, price, policy } = ticket;
  const most = price === undefined ? '' : `, for at most ${money(price.hold, price.currency)}`;
  const bounds =
    ticket.task === 'embedding'
      ? ''
      : ` of at most ${counted(params.max_tokens, 'token')}, temperature ${params.temperature}, seed ${params.seed}`;
  return `${ticket.tenant} asked ${model.name} for ${ARTICLES[ticket.task]}${bounds}, at ${clock(ticket.createdAt)}, to end by ${clock(ticket.deadline)}${most}. The service promised ${promisesOf(policy).join(', and ')}.`;
}

function promisesOf(policy: VerifiedReceipt['ticket']['policy']): string[] {
  const promises = [
    ...(policy.recompute > 0 ? [`to compute ${share(policy.recompute)} again`] : []),
    ...(policy.tokens === undefined ? [] : [`to replay the tokens of ${share(policy.tokens)}`]),
    ...(policy.quorum === undefined
      ? []
      : [`to ask ${policy.quorum.of} workers and to take what ${policy.quorum.agree} agree on`]),
    ...(policy.tee === undefined ? [] : ['to take a machine that has proven itself']),
  ];
  return promises.length === 0 ? ['to compare signatures and digests'] : promises;
}

function evidenceWords({ evidence }: VerifiedReceipt, clock: Clock): string {
  const { worker, usage, engine, model } = evidence;
  const measured = model.measured ? 'It measured its weights.' : 'It did not measure its weights.';
  return `Worker ${short(worker.id)}, at attempt ${evidence.epoch}, wrote ${counted(evidence.outputBytes, 'byte')} (${counted(usage.inputTokens, 'token')} in, ${whole(usage.outputTokens)} out) from ${clock(evidence.startedAt)} to ${clock(evidence.finishedAt)} with ${engine.name} ${engine.version}. ${measured}`;
}

function verdictWords(verified: VerifiedReceipt, clock: Clock): string {
  const { verdict } = verified;
  const price = verified.charge === undefined ? '' : ` Price: ${priceWords(verified)}.`;
  return `Attestor ${attestorOf(verified)} confirmed this at ${clock(verdict.timeCreated)}. ${findings(verdict.properties)}${price}`;
}

function priceWords({ ticket: { price }, charge, evidence, verdict }: VerifiedReceipt): string {
  if (price === undefined || charge === undefined) return 'none';
  const { inputTokens, outputTokens } = verdict.usage ?? evidence.usage;
  return `${money(charge, price.currency)}: ${counted(inputTokens, 'token')} in, ${whole(outputTokens)} out, price table ${price.table.id}`;
}

const attestorOf = ({ verdict }: Pick<VerifiedReceipt, 'verdict'>): string =>
  short(verdict.verifier.id.replace(/^urn:countersign:attestor:/, ''));
const money = (millionths: number, currency: string): string => `${(millionths / 1_000_000).toFixed(6)} ${currency}`;
const whole = (count: number): string => count.toLocaleString('en');
const counted = (count: number, noun: string): string => `${whole(count)} ${noun}${count === 1 ? '' : 's'}`;
const share = (of: number): string =>
  of === 1 ? 'every answer' : `${Number((of * 100).toPrecision(3))} % of answers, drawn by lot,`;
const sentence = (text: string): string => (text === '' ? '' : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`);

/** The beginning and the end of what is too long to be read. */
export function short(id: string): string {
  return id.length <= 16 ? id : `${id.slice(0, 6)}…${id.slice(-4)}`;
}
