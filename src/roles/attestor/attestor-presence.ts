import type { Redis } from 'ioredis';
import type { Equipment } from '../../core/attestation/methods/equipment.ts';
import { servedMethods } from '../../core/attestation/methods/methods.ts';
import { servedModels } from '../../core/attestation/methods/served-models.ts';
import { ANNOUNCE_EVERY_MS, announce, withdraw } from '../../core/catalog/announcement.ts';
import type { Catalog } from '../../core/catalog/catalog.ts';
import type { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import type { Sequencer } from '../../core/confirmation/sequencer.ts';
import type { StorageProbe } from '../../ground/blobs/storage-probe.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';

interface PresenceParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly id: string;
  readonly catalog: Catalog;
  readonly equipment: Equipment;
  readonly sequencer: Sequencer;
  readonly enrolled: EnrolledWorkers;
  /** Where outputs are kept. */
  readonly storage: StorageProbe;
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
    await withdraw(redis, keys, { role: 'attestor' }, id);
  }

  /** The methods for each model of the catalog, for the log. */
  methods(): Record<string, string> {
    const { catalog, equipment } = this.#parts;
    return Object.fromEntries(
      catalog.all().map((model) => [model.name, ['binding', ...servedMethods(equipment, model)].join(' ')]),
    );
  }

  /** A lost announcement is made good by the next one. */
  async #announce(): Promise<void> {
    const { redis, keys, id, catalog, equipment, sequencer, enrolled, storage } = this.#parts;
    const problem = sequencer.problem ?? storage.problem;
    await announce(redis, keys, {
      id,
      role: 'attestor',
      startedAt: this.#startedAt,
      models: servedModels(catalog, equipment),
      operators: enrolled.operators,
      state: 'consuming',
      inFlight: 0,
      ...(problem === undefined ? {} : { problem }),
    }).catch(() => undefined);
  }
}
