import { randomInt } from 'node:crypto';

export const AUDIT_TASKS = ['chat', 'completion'] as const;
export type AuditTask = (typeof AUDIT_TASKS)[number];

/** What is asked where nobody brings prompts of their own; own ones cannot be foreseen. */
export const PROMPTS: readonly string[] = [
  'Write a short letter to a friend about the weather.',
  'List three reasons to keep a diary.',
  'Explain why the sky is dark at night.',
  'Once there was a river that',
  'Describe a market in the morning, with its sounds and smells.',
  'What would you pack for a week in the mountains?',
  'Tell the story of a clock that ran backwards.',
  'Compare tea and coffee for somebody who knows neither.',
  'How does a bridge carry its load?',
  'Write the opening of a detective story set on an island.',
  'Give advice to somebody who moves to a new city.',
  'Explain what a prime number is, with an example from daily life.',
  'Describe the taste of an orange to somebody who never had one.',
  'Why do people whisper in libraries?',
  'Draft the rules of a game for two players and a handful of stones.',
  'Summarise how bread is made.',
  'What makes a good question?',
  'Write a speech for the opening of a small museum of buttons.',
  'How would you measure the height of a tree without climbing it?',
  'Tell what happened on the day when all the bells fell silent.',
  'Explain to a child where rain comes from.',
  'Name some habits of careful people, and say why they help.',
  'Invent a festival and describe its last evening.',
  'What can be learned from a map that is wrong?',
];

/** One question of an audit. */
export interface AuditQuestion {
  readonly task: AuditTask;
  readonly prompt: string;
  readonly temperature: number;
  readonly seed: number;
  readonly maxTokens: number;
}

export interface AuditPlan {
  readonly task: AuditTask;
  readonly prompts: readonly string[];
  /** Of drawn answers; each prompt is answered once at temperature 0 beside. */
  readonly temperature: number;
  readonly answers: number;
  readonly maxTokens: number;
}

const SEEDS = 2 ** 31;

/**
 * The questions of an audit: each prompt once at temperature 0, as far as half of the answers, and the rest
 * drawn, each with a seed of its own. A prompt that is asked twice at temperature 0 has one answer, which
 * would count twice.
 */
export function questionsOf({ task, prompts, temperature, answers, maxTokens }: AuditPlan): AuditQuestion[] {
  const greedy = Math.min(new Set(prompts).size, Math.floor(answers / 2));
  return Array.from({ length: answers }, (_, at) => ({
    task,
    prompt: prompts[at % prompts.length] ?? '',
    temperature: at < greedy ? 0 : temperature,
    seed: randomInt(SEEDS),
    maxTokens,
  }));
}

/** The question as an engine and a tokenizer take it. */
export function inputOf({
  task,
  prompt,
}: AuditQuestion): { prompt: string } | { messages: { role: string; content: string }[] } {
  return task === 'chat' ? { messages: [{ role: 'user', content: prompt }] } : { prompt };
}
