import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LossyProxy } from '../support/lossy-proxy.ts';
import { SHORT_LEASE, type Role } from '../support/pipeline.ts';
import type { SmallDisk } from '../support/small-disk.ts';
import type { World } from './world.ts';

/** What is done to the processes and to what they stand on, while jobs arrive. */
export type Fault =
  | `${'worker' | 'attestor' | 'courier' | 'api'} killed`
  | `${'worker' | 'attestor' | 'redis'} stopped`
  | 'redis killed'
  | 'redis full'
  | 'disk full'
  | 'reply lost'
  | 'cut off'
  | 'clock jumped';
type Kind = 'worker' | 'attestor' | 'courier' | 'api';

/** Of how many scripts of a process one loses its reply. */
const LOST_EVERY = 13;
/** Between two faults, ms. */
const FAULT_EVERY_MS = [300, 1_500] as const;
/** Longer than the lease of a worker that is stopped or cut off. */
const AWAY_MS = 2_500;
/** How far clocks jump, s: later and earlier, by more than a lease and a deadline and by less. */
const JUMPS_S = [3_600, 45, 2, -2, -45, -300];
/** What makes a process believe another time; Debian's `faketime` brings it. */
const CLOCK = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
export const HAS_CLOCK = existsSync(CLOCK);

/** A process that can be ended and comes back, with its way to Redis and its clock. */
interface Place {
  readonly kind: Kind;
  readonly start: () => Promise<Role>;
  role: Role;
  readonly proxy: LossyProxy | undefined;
  readonly clock: string | undefined;
}

/**
 * Inflicts faults, one after another, in an order that a seed decides, until it is told to stop; then it
 * leaves nothing stopped, cut off, full or wrong behind.
 */
export class Nemesis implements AsyncDisposable {
  readonly #world: World;
  readonly #draw: () => number;
  readonly #faults: readonly Fault[];
  readonly #places: Place[] = [];
  readonly #disk: SmallDisk | undefined;
  readonly #stop = new AbortController();
  #count = 0;
  #work: Promise<void> = Promise.resolve();

  constructor(world: World, draw: () => number, faults: readonly Fault[], disk?: SmallDisk) {
    this.#world = world;
    this.#draw = draw;
    this.#faults = faults;
    this.#disk = disk;
  }

  /** Starts the processes on which faults fall: the API of the world has to be ended before. */
  async people(): Promise<void> {
    const { pipeline, apiEnv, courierEnv } = this.#world;
    await pipeline.kill('api');
    const log = this.#disk === undefined ? {} : { COUNTERSIGN_TLOG: join(this.#disk.folder, 'log') };
    await Promise.all([
      this.#place('api', (env) => pipeline.api({ ...apiEnv, ...log, ...env })),
      this.#place('attestor', (env) => pipeline.attestor({ ...log, ...env })),
      this.#place('courier', (env) => pipeline.courier({ ...courierEnv, ...log, ...env })),
      ...[1, 2].map((number) => this.#place('worker', (env) => pipeline.worker(number, { ...SHORT_LEASE, ...env }))),
    ]);
  }

  start(): void {
    this.#work = this.#run();
  }

  /** Ends the faults; what they left is in order again. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#work;
    for (const { clock } of this.#places) if (clock !== undefined) this.#world.pipeline.file(clock, '+0');
    const lost = this.#places.reduce((sum, { proxy }) => sum + (proxy?.lost ?? 0), 0);
    for (let at = 0; at < lost; at += 1) this.#world.happens('reply lost');
  }

  async #run(): Promise<void> {
    const own = this.#faults.filter((fault) => fault !== 'reply lost');
    const [least, most] = FAULT_EVERY_MS;
    // Each comes once before any comes twice.
    for (let number = 0; own.length > 0 && (!this.#stop.signal.aborted || number < own.length); number += 1) {
      const fault = own[number] ?? own[Math.floor(this.#draw() * own.length)];
      if (fault === undefined) return;
      await this.#inflict(fault);
      this.#world.happens(fault);
      await pause(least + this.#draw() * (most - least));
    }
  }

  async #inflict(fault: Fault): Promise<void> {
    const { pipeline } = this.#world;
    const away = () => pause(AWAY_MS);
    switch (fault) {
      case 'redis killed':
        await pipeline.redis.kill();
        return pipeline.redis.restart();
      case 'redis stopped':
        process.kill(pipeline.redis.pid, 'SIGSTOP');
        await away();
        process.kill(pipeline.redis.pid, 'SIGCONT');
        return;
      case 'redis full': {
        const { admin } = pipeline.redis;
        await admin.config('SET', 'maxmemory', '1mb');
        await away();
        await admin.config('SET', 'maxmemory', '0');
        return;
      }
      case 'disk full':
        this.#disk?.fill();
        await away();
        this.#disk?.empty();
        return;
      case 'cut off': {
        const { proxy } = this.#drawn(this.#places);
        proxy?.cut();
        await away();
        proxy?.heal();
        return;
      }
      case 'clock jumped': {
        const { clock } = this.#drawn(this.#places);
        const jump = this.#drawn(JUMPS_S);
        if (clock !== undefined) pipeline.file(clock, jump < 0 ? `${jump}` : `+${jump}`);
        return away();
      }
      case 'reply lost':
        // The proxies lose replies by themselves.
        return;
      default: {
        const [kind, what] = fault.split(' ');
        const place = this.#drawn(this.#places.filter((one) => one.kind === kind));
        if (what === 'killed') return this.#kill(place);
        place.role.process.kill('SIGSTOP');
        await away();
        place.role.process.kill('SIGCONT');
      }
    }
  }

  async #kill(place: Place): Promise<void> {
    place.role.process.kill('SIGKILL');
    await place.role.exited;
    place.role = await place.start();
  }

  async #place(kind: Kind, run: (env: Record<string, string>) => Promise<Role>): Promise<void> {
    this.#count += 1;
    const number = this.#count;
    const { pipeline } = this.#world;
    const needsProxy = this.#faults.some((fault) => fault === 'reply lost' || fault === 'cut off');
    const target = pipeline.redis.url.slice('unix://'.length);
    const every = this.#faults.includes('reply lost') ? LOST_EVERY : 0;
    const path = join(pipeline.folder, `${kind}-${number}.sock`);
    const clock = this.#faults.includes('clock jumped') ? `${kind}-${number}.clock` : undefined;
    const proxy = needsProxy ? LossyProxy.start(path, target, every) : undefined;
    const start = async () =>
      run({
        ...(proxy === undefined ? {} : { COUNTERSIGN_REDIS_URL: (await proxy).url }),
        ...(clock === undefined ? {} : clockOf(pipeline.file(clock, '+0'))),
      });
    const place = { kind, start, role: await start(), proxy: await proxy, clock };
    this.#places.push(place);
  }

  #drawn<T>(all: readonly T[]): T {
    const one = all[Math.floor(this.#draw() * all.length)];
    if (one === undefined) throw new Error('There is nothing to draw from.');
    return one;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { proxy } of this.#places) await proxy?.[Symbol.asyncDispose]();
  }
}

/** The wall clock stands as the file says; what is measured and waited for goes on as it is. */
const clockOf = (file: string) => ({
  LD_PRELOAD: CLOCK,
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_CACHE_DURATION: '1',
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  DONT_FAKE_MONOTONIC: '1',
});
