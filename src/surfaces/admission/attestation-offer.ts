import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { ModelName, PooledModel } from '../../core/attestation/methods/equipment.ts';
import type { Heard, Method, Question } from '../../core/attestation/methods/method.ts';
import { METHODS } from '../../core/attestation/methods/methods.ts';
import { Announcements } from '../../core/catalog/announcement.ts';

const ATTESTORS_CACHE_MS = 1_000;

/** What attestors have announced, as read at a time (ms) of this process. */
interface Served {
  readonly methods: ReadonlySet<string>;
  readonly operators: readonly Readonly<Record<string, number>>[];
  readonly hasAttestors: boolean;
  readonly at: number;
}

/** Which promises of confirmation can be kept now, by who is heard of. */
export class AttestationOffer implements Heard {
  readonly #announcements: Announcements;
  readonly #methods: readonly Method[];
  #served: Served = { methods: new Set(), operators: [], hasAttestors: false, at: -Infinity };

  constructor(redis: Redis, keys: RedisKeys, methods: readonly Method[] = METHODS) {
    this.#announcements = new Announcements(redis, keys);
    this.#methods = methods;
  }

  /** Throws CodedError `attestation_unavailable` for a promise that cannot be kept now. */
  async require(question: Question): Promise<void> {
    for (const method of this.#methods) {
      const why = await method.unavailable?.(question, this);
      if (why !== undefined) throw new CodedError('attestation_unavailable', why);
    }
  }

  async workersOf(model: PooledModel): Promise<number> {
    const workers = await this.#announcements.present({ role: 'worker', pool: model.pool });
    const isServed = ({ name, sha256 }: ModelName) => name === model.name && sha256 === model.sha256;
    return workers.filter(({ state, models }) => state === 'consuming' && models.some(isServed)).length;
  }

  /**
   * A promise that no attestor can keep is refused at admission. While none is heard of, jobs are kept for
   * one.
   */
  async isServed(method: string, model: ModelName): Promise<boolean> {
    const { methods, hasAttestors } = await this.#attestors();
    return !hasAttestors || methods.has(`${method} ${model.name} ${model.sha256}`);
  }

  async operatorsOf({ pool }: PooledModel): Promise<number | undefined> {
    const { operators } = await this.#attestors();
    // An attestor that has not read a new list yet knows of fewer.
    const counts = operators.flatMap((by) => (Object.hasOwn(by, pool) ? [by[pool] ?? 0] : []));
    return counts.length === 0 ? undefined : Math.max(...counts);
  }

  async #attestors(): Promise<Served> {
    const now = performance.now();
    if (now - this.#served.at <= ATTESTORS_CACHE_MS) return this.#served;
    const attestors = await this.#announcements.present({ role: 'attestor' });
    const methods = attestors.flatMap((attestor) =>
      attestor.models.flatMap((entry) =>
        (entry.methods ?? []).map((served) => `${served} ${entry.name} ${entry.sha256}`),
      ),
    );
    this.#served = {
      methods: new Set(methods),
      operators: attestors.flatMap(({ operators }) => (operators === undefined ? [] : [operators])),
      hasAttestors: attestors.length > 0,
      at: now,
    };
    return this.#served;
  }
}
