import { Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { Backlog } from '../../core/backlog/backlog.ts';
import { Attempts } from '../../core/audit/attempts.ts';
import { FilesInForce } from '../../core/audit/files-in-force.ts';
import { Wake } from '../../core/jobs/wake.ts';
import { StorageProbe } from '../../ground/blobs/storage-probe.ts';
import { EventStreams } from './event-streams.ts';
import { FirstKey } from './first-key.ts';

/** Begins to listen for wake-ups and to release with the API, and ends its event streams before its port. */
@Injectable()
export class ApiLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #wake: Wake;
  readonly #streams: EventStreams;
  readonly #backlog: Backlog;
  readonly #firstKey: FirstKey;
  readonly #storage: StorageProbe;
  readonly #attempts: Attempts;
  readonly #inForce: FilesInForce;

  constructor(
    wake: Wake,
    streams: EventStreams,
    backlog: Backlog,
    firstKey: FirstKey,
    storage: StorageProbe,
    attempts: Attempts,
    inForce: FilesInForce,
  ) {
    this.#attempts = attempts;
    this.#inForce = inForce;
    this.#wake = wake;
    this.#streams = streams;
    this.#backlog = backlog;
    this.#firstKey = firstKey;
    this.#storage = storage;
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.#firstKey.take();
    await this.#inForce.note();
    this.#attempts.start();
    this.#wake.start();
    this.#backlog.start();
    this.#storage.start();
  }

  /** Streams end first, so that a client reconnects elsewhere while the rest is closed. */
  async beforeApplicationShutdown(): Promise<void> {
    this.#streams.closeAll();
    this.#wake.stop();
    await Promise.all([this.#backlog.stop(), this.#storage.stop(), this.#attempts.stop()]);
  }
}
