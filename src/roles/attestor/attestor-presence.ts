import type { Redis } from 'ioredis';
import { methodsOf, type CalibrationFile } from '../../core/attestation/calibrations.ts';
import { ANNOUNCE_EVERY_MS, announce, withdraw, type Announcement } from '../../core/catalog/announcement.ts';
import type { Catalog } from '../../core/catalog/catalog.ts';
import type { HardwareSessions } from '../../core/confirmation/hardware-sessions.ts';
import { announcedModels } from '../../core/engines/announced-models.ts';
import type { Engines } from '../../core/engines/engines.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';

interface PresenceParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly id: string;
  readonly catalog: Catalog;
  readonly engines: Engines;
  readonly calibrations: ReadonlyMap<string, CalibrationFile>;
  readonly hardware: HardwareSessions | undefined;
}

/** Says every two seconds that this attestor is there, and which methods it serves for which models. */
export class AttestorPresence {
  readonly #parts: PresenceParts;
  readonly #startedAt = new Date().toISOString();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    await this.#announce();
    this.#timer = setInterval(() => void this.#announce(), ANNOUNCE_EVERY_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const { redis, keys, id } = this.#parts;
    await withdraw(redis, keys, 'attestor', id);
  }

  /** The methods for each model of the catalog, for the log. */
  methods(): Record<string, string> {
    const { catalog, engines, calibrations, hardware } = this.#parts;
    return Object.fromEntries(
      catalog.all().map(({ name }) => {
        const engine = engines.get(name);
        const own = engine === undefined ? [] : methodsOf(engine, calibrations);
        return [name, ['binding', ...own, ...(hardware === undefined ? [] : ['tee'])].join(' ')];
      }),
    );
  }

  /** A lost announcement is made good by the next one. */
  async #announce(): Promise<void> {
    const { redis, keys, id } = this.#parts;
    await announce(redis, keys, {
      id,
      role: 'attestor',
      startedAt: this.#startedAt,
      models: this.#served(),
      state: 'consuming',
      inFlight: 0,
    }).catch(() => undefined);
  }

  /**
   * The models for which this attestor has a method besides binding. It judges the machines of models of which it has
   * no copy, too.
   */
  #served(): Announcement['models'] {
    const { catalog, engines, calibrations, hardware } = this.#parts;
    const own = announcedModels(engines.all(), (engine) => methodsOf(engine, calibrations));
    const attested = catalog.all().filter((model) => hardware?.serves(model) === true);
    return [
      ...own.map((model) =>
        attested.some(({ name }) => name === model.name)
          ? { ...model, methods: [...(model.methods ?? []), 'tee'] }
          : model,
      ),
      ...attested
        .filter(({ name }) => engines.get(name) === undefined)
        .map(({ name, sha256 }) => ({
          name,
          sha256,
          engine: 'none',
          engineVersion: '',
          engineSha256: '',
          methods: ['tee'],
        })),
    ];
  }
}
