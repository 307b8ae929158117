import { createHash } from 'node:crypto';
import { siblingOf } from '../../ground/keys/ulid.ts';
import { MemoryEntry } from '../../proof/memory/entry.ts';
import { textOfOutput } from '../../proof/tasks/task-input.ts';
import { readExtraction } from './extraction.ts';
import type { Ask } from './memory-calls.ts';
import { memoryIdAt } from './memory-ids.ts';
import type { MemoryWork } from './memory-work.ts';

type TakenIn = Pick<Ask<'takeIn'>, 'refusal' | 'dropped' | 'drafts'>;

/** A confirmed answer, and the id of the first memory that is made of it. */
interface Answer {
  readonly id: string;
  readonly model: string;
  readonly output: Uint8Array;
  readonly first: string;
}

/** The id of the first memory that a job makes: the same each time. */
export function firstIdOf(job: string): string {
  return `mem_${siblingOf(job.slice(-26), createHash('sha256').update(job).digest())}`;
}

/** What is to be remembered of a confirmed answer. */
export function answerDrafts(work: Exclude<MemoryWork, { kind: 'shown' }>, answer: Answer): TakenIn {
  return work.kind === 'extract' ? extracted(work, answer) : exchanged(work, answer);
}

function extracted(work: MemoryWork & { kind: 'extract' }, { output, model, first }: Answer): TakenIn {
  const found = readExtraction(output, work.mark);
  if (found === undefined) return { refusal: 'extraction_not_usable', dropped: 0, drafts: [] };
  const { category, agent, thread, source, valid_from, valid_to, metadata } = work;
  const { at_most, rests_on, reference } = work;
  const drafts = found.texts.map(({ type, text }, at) => ({
    ...{ id: memoryIdAt(first, at), type: work.type ?? type, text },
    ...{ category, agent, thread, source, valid_from, valid_to, metadata, supersedes: [], contradicts: [] },
    origin: { kind: 'model' as const, from: model, reference, rests_on, receipt: null, at_most },
  }));
  return { refusal: null, dropped: found.dropped, drafts };
}

/** What the user asked and what the model said, word for word; a half that no memory can hold is left out. */
function exchanged(work: MemoryWork & { kind: 'exchange' }, { output, model, first }: Answer): TakenIn {
  const { category, agent, thread, source, question, rests_on } = work;
  const about = { type: 'episodic' as const, category, agent, thread, source };
  const rest = { valid_from: null, valid_to: null, metadata: {}, supersedes: [], contradicts: [] };
  const answered = MemoryEntry.shape.text.safeParse(textOfOutput(JSON.parse(Buffer.from(output).toString('utf8'))));
  const user = { kind: 'user' as const, from: null, reference: null, rests_on: [], receipt: null };
  const said = { kind: 'model' as const, from: model, reference: null, rests_on, receipt: null };
  const drafts = [
    { ...about, ...rest, id: first, text: question, origin: user },
    ...(answered.success ? [{ ...about, ...rest, id: memoryIdAt(first, 1), text: answered.data, origin: said }] : []),
  ];
  return { refusal: null, dropped: answered.success ? 0 : 1, drafts };
}
