import { setTimeout as pause } from 'node:timers/promises';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import type { LoadedEngines } from '../engines/loaded-engines.ts';
import { EnginePlaces } from '../execution/engine-places.ts';
import type { JobRunner } from '../execution/job-runner.ts';
import type { DeliveryLink } from '../execution/links.ts';
import { within } from '../execution/pool-consumers.ts';
import type { GatewayClient } from './gateway-client.ts';
import type { RemoteJobs } from './remote-jobs.ts';
import { Leases, MOST_WAIT_MS, ROUTES, type AskLeases, type Lease } from './wire.ts';

/** Less than a proxy in between waits. */
const WAIT_MS = 0.75 * MOST_WAIT_MS;
const AFTER_FAILURE_MS = 1_000;

interface DeliveryParts {
  readonly gateway: GatewayClient;
  readonly jobs: RemoteJobs;
  readonly runner: JobRunner;
  readonly engines: LoadedEngines;
  /** How many jobs of each model its engine runs at once. */
  readonly slots: ReadonlyMap<string, number>;
  /** The gateway will never take this worker as it is. */
  readonly refused: (error: CodedError) => void;
  readonly logger: Logger;
}

/** The places of one model, and how many jobs are at them or wait for them. */
interface Served {
  readonly name: string;
  readonly slots: number;
  readonly places: EnginePlaces;
  taken: number;
  isAsked: boolean;
  isAway: boolean;
}

/**
 * Asks a gateway for as many jobs as there are places, and runs them. One request waits for all models that
 * have places; those that get places meanwhile are asked for by another. What comes after the worker was told
 * to leave is not acknowledged: it goes back, and costs its job no attempt.
 */
export class RemoteDeliveries implements DeliveryLink {
  readonly #parts: DeliveryParts;
  readonly #served: readonly Served[];
  readonly #warn: (error: unknown) => void;
  #ending = new AbortController();
  #isHeld = false;
  #isLeaving = false;
  #isAsking = false;
  /** The requests that are under way. */
  readonly #asks = new Set<Promise<void>>();

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
    this.#served = [...parts.slots].map(([name, slots]) => ({
      name,
      slots,
      places: new EnginePlaces(slots),
      taken: 0,
      isAsked: false,
      isAway: false,
    }));
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `leases: ${messageOf(error).slice(0, 300)}`),
    );
  }

  begin(): Promise<void> {
    this.#ask();
    return Promise.resolve();
  }

  take(model: string, isServed: boolean): Promise<void> {
    for (const served of this.#served) {
      if (served.name !== model) continue;
      const isLeft = !isServed && !served.isAway;
      served.isAway = !isServed;
      // What a request that waits would bring goes to others.
      if (isLeft && served.isAsked) this.#giveUp();
    }
    this.#ask();
    return Promise.resolve();
  }

  hold(isHeld: boolean): Promise<void> {
    this.#isHeld = isHeld;
    if (isHeld) this.#giveUp();
    this.#ask();
    return Promise.resolve();
  }

  /** Resolves when no answer can come any more that would be taken. */
  async pause(withinMs: number): Promise<void> {
    this.#isLeaving = true;
    this.#giveUp();
    await within(withinMs, [...this.#asks]);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #giveUp(): void {
    this.#ending.abort();
    this.#ending = new AbortController();
  }

  /** Asks for all models that have places and are not asked for, once this turn of the event loop is over. */
  #ask(): void {
    if (this.#isAsking) return;
    this.#isAsking = true;
    setImmediate(() => {
      this.#isAsking = false;
      if (this.#isHeld || this.#isLeaving) return;
      const wanted = this.#served.filter((one) => !one.isAsked && !one.isAway && this.#room(one) > 0);
      if (wanted.length === 0) return;
      const ask = this.#askFor(wanted).finally(() => this.#asks.delete(ask));
      this.#asks.add(ask);
    });
  }

  /** As many jobs as there are places, and where jobs are held ready, as many again. */
  #room({ name, slots, taken }: Served): number {
    return slots * (this.#parts.runner.holdsReady(name) ? 2 : 1) - taken;
  }

  async #askFor(wanted: readonly Served[]): Promise<void> {
    const { signal } = this.#ending;
    for (const one of wanted) one.isAsked = true;
    try {
      const models = wanted.map((one) => ({ name: one.name, slots: this.#room(one) }));
      const leases = await this.#leases({ models, wait_ms: WAIT_MS }, signal);
      for (const lease of leases) this.#take(lease, signal);
    } catch (error) {
      if (!signal.aborted) await this.#failed(error, signal);
    } finally {
      for (const one of wanted) one.isAsked = false;
      this.#ask();
    }
  }

  async #failed(error: unknown, signal: AbortSignal): Promise<void> {
    this.#warn(error);
    if (error instanceof CodedError && error.code === 'worker_not_enrolled') this.#parts.refused(error);
    await pause(AFTER_FAILURE_MS, undefined, { signal }).catch(() => undefined);
  }

  async #leases(json: AskLeases, signal: AbortSignal): Promise<readonly Lease[]> {
    const request = { method: 'POST', target: ROUTES.leases, json, signal } as const;
    return (await this.#parts.gateway.ask(Leases, request)).leases;
  }

  #take(lease: Lease, signal: AbortSignal): void {
    const served = this.#served.find(({ name }) => name === lease.model);
    // Whoever is told to leave says nothing of a lease that comes now.
    if (served === undefined || signal.aborted) return;
    served.taken += 1;
    this.#run(lease, served, signal)
      .catch(this.#warn)
      .finally(() => {
        served.taken -= 1;
        this.#ask();
      });
  }

  async #run(lease: Lease, { name, places }: Served, signal: AbortSignal): Promise<void> {
    const { engines, jobs, runner } = this.#parts;
    const engine = await engines.ready(name);
    // Its server may have taken a while to answer.
    if (engine === undefined || signal.aborted) return;
    jobs.grant(lease);
    try {
      await runner.run(lease.job, engine, places);
    } finally {
      jobs.forget(lease.job);
    }
  }
}
