import { Worker as Thread } from 'node:worker_threads';
import type { Announcement } from '../catalog/announcement.ts';
import type { RedisAccess } from '../../ground/redis/connection.ts';
import type { HeartbeatEvent, HeartbeatCommand } from './heartbeat-thread.ts';
import type { Claim } from './claims.ts';
import type { LeaseLink } from './links.ts';
import { LeaseTable, type HeldLease } from './lease-table.ts';

const TICK_MS = 100;

export interface HeartbeatOptions {
  readonly access: RedisAccess;
  readonly shard: string;
  readonly pool: string;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly stallMs: number;
  readonly logLevel: string;
  /** File of the key that announcements are signed with. */
  readonly keyFile: string;
  readonly worker: string;
  /** Most jobs that are claimed at once. */
  readonly mostHeld: number;
}

export interface HeartbeatListener {
  lost(id: string, lease: string): void;
  cancelled(id: string): void;
  died(error: Error): void;
}

/** Says that a worker lives, keeps its leases, and hears what is to stop. */
export interface HeartbeatLink extends LeaseLink {
  listen(on: HeartbeatListener): void;
  announce(announcement: Omit<Announcement, 'at'>): void;
  /** Withdraws the announcement and ends. */
  stop(): Promise<void>;
}

/**
 * The main thread's side of the heartbeat: holds and drops leases, hears when one is lost or its job
 * cancelled.
 */
export class Heartbeat implements HeartbeatLink {
  readonly #thread: Thread;
  readonly #ticks = new Int32Array(new SharedArrayBuffer(4));
  readonly #timer: NodeJS.Timeout;
  readonly #worker: string;
  readonly #stopped: Promise<void>;
  readonly #leases: LeaseTable;

  /** Begins at once; `listen` before the first lease is held. */
  constructor(options: HeartbeatOptions) {
    this.#worker = options.worker;
    this.#leases = LeaseTable.withRoomFor(options.mostHeld);
    this.#thread = new Thread(threadFile(), {
      workerData: { ...options, access: { ...options.access }, ticks: this.#ticks.buffer, leases: this.#leases.buffer },
      env: {},
    });
    this.#stopped = new Promise((resolve) => {
      this.#thread.once('exit', () => resolve());
    });
    this.#timer = setInterval(() => Atomics.add(this.#ticks, 0, 1), TICK_MS);
  }

  /** What to do when a lease is lost, when a job is to be stopped, and when the thread has died. */
  listen(on: HeartbeatListener): void {
    this.#thread.on('message', (event: HeartbeatEvent) => {
      if (event.kind === 'lost') on.lost(event.id, event.lease);
      if (event.kind === 'cancelled') on.cancelled(event.id);
    });
    this.#thread.on('error', (error: Error) => on.died(error));
  }

  leaseOf(claim: Claim): string {
    return `${claim.epoch} ${this.#worker} ${claim.token}`;
  }

  hold(claim: Claim): void {
    this.#leases.hold(this.#held(claim));
  }

  drop(claim: Claim): void {
    this.#leases.drop(this.#held(claim));
  }

  announce(announcement: Omit<Announcement, 'at'>): void {
    this.#tell({ kind: 'announce', announcement });
  }

  /** Withdraws the announcement and ends the thread. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#tell({ kind: 'stop' });
    const forced = setTimeout(() => void this.#thread.terminate(), 2_000);
    await this.#stopped;
    clearTimeout(forced);
  }

  #held(claim: Claim): HeldLease {
    return { id: claim.id, lease: this.leaseOf(claim) };
  }

  #tell(order: HeartbeatCommand): void {
    this.#thread.postMessage(order);
  }
}

function threadFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './heartbeat-thread.ts' : './heartbeat-thread.js', import.meta.url);
}
