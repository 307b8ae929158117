import { chunkEvents, inOrder, isAfter, stateEvents, type Chunk, type EventId, type JobEvent } from './job-events.ts';
import type { JobView } from './job.reader.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { Jobs } from './jobs.ts';
import { LOOK_AGAIN_MS, waitFor, type Wake } from './wake.ts';
import { tenantOf, type Whose } from './whose.ts';

const BEFORE_ALL: EventId = [-1, 0, 0];

/** An event, and the job as it was when the event was read. */
export interface Followed {
  readonly event: JobEvent;
  readonly view: JobView;
}

/**
 * Yields the events of a job after `since`, each once and in order, until the job is final or the signal is
 * aborted. Throws CodedError `job_not_found`. Any number of callers at once.
 */
export async function* followJob(
  jobs: Jobs,
  wake: Wake,
  job: { readonly whose: Whose; readonly id: string; readonly since?: EventId | undefined },
  signal: AbortSignal,
): AsyncGenerator<Followed> {
  const { whose, id } = job;
  let last = job.since ?? BEFORE_ALL;
  let place = '0-0';
  let wakeUp: () => void = () => undefined;
  using _listening = wake.listen(id, () => wakeUp());
  while (!signal.aborted) {
    const woken = new Promise<void>((resolve) => {
      wakeUp = resolve;
    });
    // The documents are read first: the chunks of an attempt are written before its evidence, so that none is
    // missed.
    const view = await jobs.get(whose, id);
    const chunks: Chunk[] = [];
    for (let more = view.erased === undefined; more;) {
      const read = await jobs.chunks(tenantOf(whose), id, place);
      // Chunks of an attempt that is not in these documents yet are read again next time.
      const ahead = read.chunks.findIndex((chunk) => chunk.epoch > view.attempts.length);
      chunks.push(...(ahead < 0 ? read.chunks : read.chunks.slice(0, ahead)));
      if (ahead >= 0) break;
      place = read.last;
      more = read.more;
    }
    for (const event of inOrder([...stateEvents(view), ...chunkEvents(id, view.attempts, chunks)])) {
      if (!isAfter(event.id, last)) continue;
      yield { event, view };
      last = event.id;
    }
    if (isFinal(view.state)) return;
    await waitFor(woken, LOOK_AGAIN_MS, signal);
  }
}
