import { Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { Wake } from '../../core/jobs/wake.ts';
import { EventStreams } from './event-streams.ts';

/** Begins to listen for wake-ups with the API, and ends its event streams before its port. */
@Injectable()
export class ApiLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #wake: Wake;
  readonly #streams: EventStreams;

  constructor(wake: Wake, streams: EventStreams) {
    this.#wake = wake;
    this.#streams = streams;
  }

  onApplicationBootstrap(): void {
    this.#wake.start();
  }

  /** Streams end first, so that a client reconnects elsewhere while the rest is closed. */
  beforeApplicationShutdown(): void {
    this.#streams.closeAll();
    this.#wake.stop();
  }
}
