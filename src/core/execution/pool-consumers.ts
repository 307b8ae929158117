import { setTimeout as pause } from 'node:timers/promises';
import type { DeliveryLink } from './links.ts';
import type { PoolConsumer } from './pool-consumer.processor.ts';

/** Everything that takes deliveries in one worker. */
export class PoolConsumers implements DeliveryLink {
  readonly #consumers: readonly PoolConsumer[];
  readonly #register: () => void;
  readonly #away = new Set<string>();
  #isHeld = false;
  #isLeaving = false;

  /** `register` makes the consumers take deliveries. */
  constructor(consumers: readonly PoolConsumer[], register: () => void) {
    this.#consumers = consumers;
    this.#register = register;
  }

  /** Takes deliveries; resolves when every consumer has its connections. */
  async begin(): Promise<void> {
    this.#register();
    await Promise.all(this.#consumers.map(({ worker }) => worker.waitUntilReady()));
  }

  /** Deliveries of this model are taken, or left to other workers. */
  async take(model: string, isServed: boolean): Promise<void> {
    if (isServed) this.#away.delete(model);
    else this.#away.add(model);
    await this.#follow();
  }

  /** No delivery of any model is taken, or again those of the models that are served. */
  async hold(isHeld: boolean): Promise<void> {
    this.#isHeld = isHeld;
    await this.#follow();
  }

  async #follow(): Promise<void> {
    if (this.#isLeaving) return;
    await Promise.all(
      this.#consumers.map(async ({ model, worker }) => {
        const isTaken = !this.#isHeld && !this.#away.has(model);
        if (isTaken === worker.isPaused()) await (isTaken ? worker.resume() : worker.pause(true));
      }),
    );
  }

  /**
   * No consumer takes a delivery from now on; a Redis that does not answer holds this up for `withinMs` at
   * most.
   */
  async pause(withinMs: number): Promise<void> {
    this.#isLeaving = true;
    await within(
      withinMs,
      this.#consumers.map(({ worker }) => worker.pause(true)),
    );
  }

  /**
   * Closes the connections: politely for `withinMs`, then by cutting them, so that no later close waits
   * either.
   */
  async close(withinMs: number): Promise<void> {
    const isClosed = await within(
      withinMs,
      this.#consumers.map(({ worker }) => worker.close()),
    );
    if (!isClosed)
      await within(
        withinMs,
        this.#consumers.map(({ worker }) => worker.disconnect()),
      );
  }
}

/** Whether all of it was done in time. */
export async function within(ms: number, work: readonly Promise<unknown>[]): Promise<boolean> {
  const done = Promise.all(work).then(() => true);
  return Promise.race([done, pause(ms, false, { ref: false })]);
}
