import type { Redis } from 'ioredis';
import { poolOfQueue, type RedisKeys } from '../../ground/redis/keys.ts';
import { Announcements, type Announcement } from '../catalog/announcement.ts';
import type { CaseFile } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';

/** How long (ms) it is believed who is there. */
const PRESENT_MS = 1_000;

type AskedCase = Pick<CaseFile, 'id' | 'queue' | 'model' | 'nowMs' | 'claimant' | 'attempts'>;

/** Which workers there are that may still try a job. */
export class Candidates {
  readonly #announcements: Announcements;
  readonly #enrolled: Pick<EnrolledWorkers, 'find' | 'mayServe'>;
  readonly #present = new Map<string, { readonly workers: Promise<Announcement[]>; readonly readMs: number }>();

  constructor(redis: Redis, keys: RedisKeys, enrolled: Pick<EnrolledWorkers, 'find' | 'mayServe'>) {
    this.#announcements = new Announcements(redis, keys);
    this.#enrolled = enrolled;
  }

  /**
   * Whether every worker that is there has had its turn, one of them with an answer that was refuted: the
   * current attempt is one where `isRefuted` says so. False while none is there: then nothing is known of who
   * will come, and the job waits for them.
   */
  async areUsedUp(file: AskedCase, isRefuted: boolean): Promise<boolean> {
    const used = new Set(
      file.attempts.flatMap(({ worker, closed }) =>
        closed?.why === 'refuted' || closed?.why === 'voted' ? [worker] : [],
      ),
    );
    if (isRefuted) used.add(file.claimant);
    else if (lastRefutation(file) === undefined) return false;
    const pool = poolOfQueue(file.queue);
    const present = (await this.#presentIn(pool)).filter(({ models, away }) =>
      [...models, ...(away ?? [])].some(({ name }) => name === file.model),
    );
    return present.length > 0 && !present.some(({ id }) => !used.has(id) && this.#mayTry(id, pool, file.nowMs));
  }

  #mayTry(id: string, pool: string, nowMs: number): boolean {
    return this.#enrolled.mayServe(id, pool) && typeof this.#enrolled.find(id, nowMs) !== 'string';
  }

  #presentIn(pool: string): Promise<Announcement[]> {
    const known = this.#present.get(pool);
    if (known !== undefined && performance.now() - known.readMs < PRESENT_MS) return known.workers;
    const workers = this.#announcements.present({ role: 'worker', pool });
    this.#present.set(pool, { workers, readMs: performance.now() });
    // What failed is read again by the next who asks.
    workers.catch(() => this.#present.delete(pool));
    return workers;
  }
}

/** Why the last refuted answer to a job was refuted; undefined where none was. */
export function lastRefutation({ attempts }: Pick<CaseFile, 'attempts'>): string | undefined {
  return attempts.findLast(({ closed }) => closed?.why === 'refuted')?.closed?.detail;
}
