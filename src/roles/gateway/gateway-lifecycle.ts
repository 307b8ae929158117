import { Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { Deliveries } from '../../core/leasing/deliveries.processor.ts';
import { StopFeed } from '../../core/leasing/stop-feed.ts';
import { gauge } from '../../ground/metrics/process-metrics.ts';
import { PushedStops } from './pushed-stops.ts';

/**
 * Looks after deliveries and hears stops with the gateway; whoever waits is sent away before the port closes.
 */
@Injectable()
export class GatewayLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #deliveries: Deliveries;
  readonly #feed: StopFeed;
  readonly #stops: PushedStops;

  constructor(deliveries: Deliveries, feed: StopFeed, stops: PushedStops) {
    this.#deliveries = deliveries;
    this.#feed = feed;
    this.#stops = stops;
  }

  async onApplicationBootstrap(): Promise<void> {
    gauge('countersign_gateway_waiting_requests', () => this.#deliveries.waiting);
    this.#feed.start();
    await this.#deliveries.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.#stops.close();
    await this.#deliveries.close();
  }
}
