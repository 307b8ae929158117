import { Worker as Thread } from 'node:worker_threads';
import type { Announcement } from '../catalog/announcement.ts';
import type { RedisAccess } from '../../ground/redis/connection.ts';
import type { HeartbeatEvent, HeartbeatCommand } from './heartbeat-thread.ts';
import type { Claim } from './claims.ts';
import { LeaseTable, type HeldLease } from './lease-table.ts';

const TICK_MS = 100;

/**
 * The main thread's side of the heartbeat: holds and drops leases, and calls back when one is lost or
 * cancelled.
 */
export class Heartbeat {
  readonly #thread: Thread;
  readonly #ticks = new Int32Array(new SharedArrayBuffer(4));
  readonly #timer: NodeJS.Timeout;
  readonly #worker: string;
  readonly #stopped: Promise<void>;
  readonly #leases: LeaseTable;

  constructor(
    options: {
      access: RedisAccess;
      shard: string;
      leaseMs: number;
      heartbeatMs: number;
      stallMs: number;
      logLevel: string;
      /** The file of the key that signs announcements. */
      keyFile: string;
      worker: string;
      /** The greatest number of jobs that run at once. */
      parallel: number;
    },
    on: { lost: (id: string, lease: string) => void; cancelled: (id: string) => void; died: (error: Error) => void },
  ) {
    this.#worker = options.worker;
    this.#leases = LeaseTable.withRoomFor(options.parallel);
    this.#thread = new Thread(threadFile(), {
      workerData: { ...options, access: { ...options.access }, ticks: this.#ticks.buffer, leases: this.#leases.buffer },
      env: {},
    });
    this.#stopped = new Promise((resolve) => {
      this.#thread.once('exit', () => resolve());
    });
    this.#thread.on('message', (event: HeartbeatEvent) => {
      if (event.kind === 'lost') on.lost(event.id, event.lease);
      if (event.kind === 'cancelled') on.cancelled(event.id);
    });
    this.#thread.on('error', on.died);
    this.#timer = setInterval(() => Atomics.add(this.#ticks, 0, 1), TICK_MS);
  }

  /** The value of the claim's lease in Redis. */
  leaseOf(claim: Claim): string {
    return `${claim.epoch} ${this.#worker} ${claim.token}`;
  }

  /** Renews the lease of this claim from now on. */
  hold(claim: Claim): void {
    this.#leases.hold(this.#held(claim));
  }

  /** Renews it no longer. */
  drop(claim: Claim): void {
    this.#leases.drop(this.#held(claim));
  }

  /** Announces the worker now, and again before the announcement expires. */
  announce(announcement: Announcement): void {
    this.#send({ kind: 'announce', announcement });
  }

  /** Withdraws the announcement and ends the thread. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#send({ kind: 'stop' });
    const forced = setTimeout(() => void this.#thread.terminate(), 2_000);
    await this.#stopped;
    clearTimeout(forced);
  }

  #held(claim: Claim): HeldLease {
    return { id: claim.id, lease: this.leaseOf(claim) };
  }

  #send(command: HeartbeatCommand): void {
    this.#thread.postMessage(command);
  }
}

function threadFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './heartbeat-thread.ts' : './heartbeat-thread.js', import.meta.url);
}
