import type { Redis } from 'ioredis';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { featuresOf } from '../../proof/tasks/task-input.ts';
import { present } from '../../core/catalog/announcement.ts';
import type { CatalogModel } from '../../core/catalog/catalog.ts';
import type { Policy } from '../../proof/receipts/statements.ts';
import { DEFAULTS, type SubmitJob } from '../../proof/contract/submit-job.ts';

const ATTESTORS_CACHE_MS = 1_000;

const UNSERVED = {
  recompute: (model: string) =>
    `No attestor can compute ${model} again. Ask with attestation.recompute 0, or start an attestor that has the model.`,
  tokens: (model: string) =>
    `No attestor can replay tokens of ${model}. Ask without attestation.tokens, or give an attestor the model and its calibration.`,
  tee: (model: string) =>
    `No machine that runs ${model} is proven by hardware evidence. Ask without attestation.tee, or give workers a source of evidence and attestors a policy.`,
};

/**
 * Decides which promises of confirmation can be kept now, by the attestors and workers that announce
 * themselves. Any number of calls may run at once; what attestors announce is cached for a second.
 */
export class AttestationOffer {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  #served: { methods: ReadonlySet<string>; hasAttestors: boolean; at: number } = {
    methods: new Set(),
    hasAttestors: false,
    at: -Infinity,
  };

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Returns if every promise of a policy can be kept. Throws CodedError `attestation_unavailable` if one
   * cannot.
   */
  async require(model: CatalogModel, body: SubmitJob, { recompute, tokens, quorum, tee }: Policy): Promise<void> {
    if (recompute > 0) await this.#requireServed('recompute', model);
    if (tokens !== undefined) await this.#requireReplay(model, body);
    if (tee === true) await this.#requireServed('tee', model);
    if (quorum !== undefined) await this.#requireWorkers(model, quorum.of);
  }

  /** Sampling can be replayed only if it draws from all tokens. */
  async #requireReplay(model: CatalogModel, body: SubmitJob): Promise<void> {
    if (body.task === 'embedding' || (body.params?.top_p ?? DEFAULTS.top_p) < 1)
      throw new CodedError(
        'attestation_unavailable',
        'Tokens can be replayed only if the task writes text and top_p is 1. Ask without attestation.tokens, or with top_p 1.',
      );
    if (
      model.engine === 'openai' &&
      ((body.params?.temperature ?? DEFAULTS.temperature) > 1 || featuresOf(body.input).length > 0)
    )
      throw new CodedError(
        'attestation_unavailable',
        `Tokens of ${model.name} can be replayed only at temperatures up to 1, without tools and response_format. Ask without attestation.tokens, or without tools and response_format.`,
      );
    await this.#requireServed('tokens', model);
  }

  /** Requires so many workers; whether they are of different operators, the attestor judges. */
  async #requireWorkers(model: CatalogModel, count: number): Promise<void> {
    const workers = await present(this.#redis, this.#keys, 'worker');
    const isServed = ({ name, sha256 }: { name: string; sha256: string }) =>
      name === model.name && sha256 === model.sha256;
    const serving = workers.filter(({ models }) => models.some(isServed));
    if (serving.length < count)
      throw new CodedError(
        'attestation_unavailable',
        `A quorum of ${count} was asked for, but only ${serving.length} workers serve ${model.name}.`,
      );
  }

  /**
   * Refuses a method that no attestor serves. While no attestor announces itself, jobs are accepted and wait
   * for one.
   */
  async #requireServed(method: 'recompute' | 'tokens' | 'tee', model: CatalogModel): Promise<void> {
    if (method !== 'tee' && model.engine === 'openai' && (method === 'recompute' || model.replay === undefined)) {
      throw new CodedError(
        'attestation_unavailable',
        `Answers of ${model.name} cannot be computed again: its server gives no repeatable answers. Ask with attestation.recompute 0${model.replay === undefined ? ' and without attestation.tokens' : ''}.`,
      );
    }
    const now = performance.now();
    if (now - this.#served.at > ATTESTORS_CACHE_MS) {
      const attestors = await present(this.#redis, this.#keys, 'attestor');
      const methods = attestors.flatMap((attestor) =>
        attestor.models.flatMap((entry) =>
          (entry.methods ?? []).map((served) => `${served} ${entry.name} ${entry.sha256}`),
        ),
      );
      this.#served = { methods: new Set(methods), hasAttestors: attestors.length > 0, at: now };
    }
    const { methods, hasAttestors } = this.#served;
    if (hasAttestors && !methods.has(`${method} ${model.name} ${model.sha256}`)) {
      throw new CodedError('attestation_unavailable', UNSERVED[method](model.name));
    }
  }
}
