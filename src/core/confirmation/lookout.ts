import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { LONGEST_LIST, newsIn, type News } from './news.ts';
import { TurnsByTenant } from './turns-by-tenant.ts';

const READ = loadScript(new URL('./lua/read-ahead.lua', import.meta.url), parsePage);

const PAGE = 1_000;
/** Pages of a look; the next one reads on. */
const MOST_PAGES = 10;
/** Of whoever has more waiting, the rest comes in the order of the mailbox. */
const LONGEST_LINE = 2_000;
/** So much is remembered of what was judged before its entry was taken in; the rest is read twice. */
const MOST_REMEMBERED = 20_000;

interface Page {
  readonly last: string;
  readonly told: readonly { readonly news: News; readonly tenant: string }[];
}

/**
 * Looks further back in a mailbox than its intake has come, while that is behind, so that tenants take turns:
 * what one of them has committed there does not wait for all that another has. It only reads. The entries
 * stay where they are, for whichever attestor takes them in, and what was judged before is then passed over;
 * a crash forgets that, and judging twice changes nothing.
 */
export class Lookout {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #stream: string;
  readonly #turns = new TurnsByTenant<News>(LONGEST_LINE);
  /** What stands in the turns, and what was judged out of them. */
  readonly #waiting = new Set<string>();
  readonly #judged = new Set<string>();
  #last = '0-0';

  constructor(redis: Redis, keys: RedisKeys, stream: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#stream = stream;
  }

  /** Looks at what stands behind this entry, the last one that was taken in, and was not looked at yet. */
  async look(entryId: string): Promise<void> {
    if (isBefore(this.#last, entryId)) this.#last = entryId;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const args = [this.#keys.prefix, this.#stream, this.#last, PAGE, LONGEST_LIST, PAGE];
      const { last, told } = await READ.run(this.#redis, [this.#keys.open], args);
      if (last === '') return;
      this.#last = last;
      for (const { news, tenant } of told) {
        const name = nameOf(news);
        if (!this.#waiting.has(name) && this.#turns.add(tenant, news)) this.#waiting.add(name);
      }
    }
  }

  /** The next ones in turn, at most so many. */
  take(most: number): News[] {
    const taken: News[] = [];
    while (taken.length < most && !this.#turns.isEmpty)
      taken.push(...this.#turns.take(most - taken.length).filter((news) => this.#waiting.delete(nameOf(news))));
    return taken;
  }

  /** These were judged: their entries tell nothing new. */
  judged(all: readonly News[]): void {
    for (const news of all) if (this.#judged.size < MOST_REMEMBERED) this.#judged.add(nameOf(news));
  }

  /** What is left to do of what entries tell that are taken in now. */
  leftOf(all: readonly News[]): News[] {
    if (this.#waiting.size + this.#judged.size === 0) return [...all];
    return all.filter((news) => {
      this.#waiting.delete(nameOf(news));
      return !this.#judged.delete(nameOf(news));
    });
  }

  /** The intake has caught up: nothing is known of what comes now. */
  forget(): void {
    // A mailbox that is made anew begins with smaller entries than one that was spoilt.
    this.#last = '0-0';
    this.#turns.clear();
    this.#waiting.clear();
    this.#judged.clear();
  }
}

function nameOf(news: News): string {
  return `${news.kind} ${news.id} ${'field' in news ? news.field : ''}`;
}

function isBefore(one: string, other: string): boolean {
  const [ms = 0, number = 0] = one.split('-').map(Number);
  const [otherMs = 0, otherNumber = 0] = other.split('-').map(Number);
  return ms === otherMs ? number < otherNumber : ms < otherMs;
}

function parsePage(reply: unknown): Page {
  const [last = '', ...words] = cells(reply).map(text);
  const told = words.flatMap((word, at) =>
    at % 2 === 0 ? newsIn(word).map((news) => ({ news, tenant: words[at + 1] ?? '' })) : [],
  );
  return { last, told };
}
