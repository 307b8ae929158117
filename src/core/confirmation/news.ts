import type { Whereabouts } from '../backlog/schedules.ts';
import { MAX_ITEMS } from '../execution/claims.ts';
import { isJobId } from '../jobs/job-id.ts';
import { MAX_EPOCHS } from '../jobs/job.reader.ts';
import type { CaseRef } from './case-file.ts';

/** Longest word of an entry: a letter, the id, an epoch of four digits and what names the evidence. */
const LONGEST_WORD = 80;
/** No honest entry's list of jobs is longer. */
export const LONGEST_LIST = MAX_ITEMS * LONGEST_WORD;
/**
 * An honest batch tells no more of a job. Each word costs Redis the reading of what it names, and any worker
 * of the pool can name the largest there is again and again.
 */
const MOST_OF_A_JOB = 4;

/**
 * What an entry tells of a job: it was claimed or its engine began, its evidence or its release was
 * committed, or it was cancelled.
 */
export type News =
  | ({ readonly kind: 'claimed' } & Whereabouts)
  | ({ readonly kind: 'committed' | 'released' } & Required<CaseRef>)
  | { readonly kind: 'cancelled'; readonly id: string };

/** At most so many of each job; the sweep finds by the documents what is left out. */
export function fewOfEach<Told extends { readonly id: string }>(all: readonly Told[]): Told[] {
  const counts = new Map<string, number>();
  return all.filter(({ id }) => {
    const before = counts.get(id) ?? 0;
    counts.set(id, before + 1);
    return before < MOST_OF_A_JOB;
  });
}

/** What the list of an entry tells; it is hostile input. */
export function newsIn(list: string): News[] {
  return list.split(' ', MAX_ITEMS).flatMap((word) => parseNews(word) ?? []);
}

/** `c:<id>:<epoch>`, `b:<id>:<epoch>`, `e:<id>:<epoch>:<digest>`, `r:<id>:<epoch>:<digest>` or `x:<id>`. */
function parseNews(word: string): News | undefined {
  const [, letter, id = '', , number = '', digest] =
    /^([bcerx]):([a-z0-9_]{1,64})(:(\d{1,4})(?::([0-9a-f]{32}))?)?$/.exec(word) ?? [];
  if (!isJobId(id)) return undefined;
  if (letter === 'x') return { kind: 'cancelled', id };
  const epoch = Number(number);
  if (epoch < 1 || epoch > MAX_EPOCHS) return undefined;
  if (letter === 'c' || letter === 'b') return { kind: 'claimed', id, epoch };
  if (digest === undefined) return undefined;
  return { kind: letter === 'e' ? 'committed' : 'released', id, epoch, field: `${epoch}:${digest}` };
}
