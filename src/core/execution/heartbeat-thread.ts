import { freemem } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { ANNOUNCE_EVERY_MS, Announcement, announce, withdraw } from '../catalog/announcement.ts';
import { RedisAccess, openRedis } from '../../ground/redis/connection.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { LeaseTable } from './lease-table.ts';
import { RENEW } from './renew.ts';

/**
 * Renews leases and announces the worker from a thread of its own, where a busy engine cannot starve it. The
 * main thread counts up a shared clock. If that stands still for longer than `stallMs`, the worker hangs and
 * is not merely busy, and this thread lets the leases run out. A stopped process (SIGSTOP) stops this thread
 * too.
 */
const Start = z.object({
  access: RedisAccess,
  shard: z.string(),
  pool: z.string(),
  leaseMs: z.number(),
  heartbeatMs: z.number(),
  stallMs: z.number(),
  logLevel: z.string(),
  keyFile: z.string(),
  ticks: z.instanceof(SharedArrayBuffer),
  leases: z.instanceof(SharedArrayBuffer),
});

/** A message from the main thread. Leases are not sent: the two threads share the lease table. */
export type HeartbeatCommand =
  { readonly kind: 'announce'; readonly announcement: Omit<Announcement, 'at'> } | { readonly kind: 'stop' };

/** A message to the main thread. */
export type HeartbeatEvent =
  | { readonly kind: 'lost'; readonly id: string; readonly lease: string }
  | { readonly kind: 'cancelled'; readonly id: string }
  | { readonly kind: 'stopped' };

if (parentPort === null) throw new Error('The heartbeat runs in a thread of the worker.');
const port = parentPort;
const start = Start.parse(workerData);
const keys = new RedisKeys(start.shard);
const key = readSigningKey(start.keyFile);
const logger = createLogger('worker-heartbeat', start.logLevel);
const redis = openRedis(start.access, 'prompt', logger);
const stops = openRedis(start.access, 'patient', logger);
const ticks = new Int32Array(start.ticks);
const leases = LeaseTable.over(start.leases);
let announcement: Omit<Announcement, 'at'> | undefined;
let lastTick = 0;
let lastTickAt = performance.now();
let stopped = false;

const emit = (event: HeartbeatEvent) => port.postMessage(event);

port.on('message', execute);

function execute(command: HeartbeatCommand): void {
  switch (command.kind) {
    case 'announce':
      announcement = command.announcement;
      void beat();
      break;
    case 'stop':
      void stop();
  }
}

function mainThreadLives(): boolean {
  const tick = Atomics.load(ticks, 0);
  const now = performance.now();
  if (tick !== lastTick) [lastTick, lastTickAt] = [tick, now];
  return now - lastTickAt < start.stallMs;
}

async function renew(): Promise<void> {
  const held = leases.read();
  const [first] = held;
  if (first === undefined || !mainThreadLives()) return;
  const args = held.flatMap(({ id, lease }) => [id, lease]);
  const renewed = await RENEW.run(redis, [keys.lease(first.id)], [keys.prefix, start.leaseMs, ...args]);
  held.forEach(({ id, lease }, index) => {
    if (renewed[index] === 2) emit({ kind: 'cancelled', id });
    if (renewed[index] === 0) emit({ kind: 'lost', id, lease });
  });
}

async function beat(): Promise<void> {
  if (announcement === undefined || stopped || !mainThreadLives()) return;
  const now = { ...announcement, inFlight: leases.read().length, freeMemoryBytes: freemem() };
  await announce(redis, keys, now, key).catch((error: unknown) => {
    logger.debug(`not announced: ${messageOf(error)}`);
  });
}

/**
 * Hears what is to stop, so that a cancelled job stops within a round trip, and which claims were taken back;
 * a lost message costs a heartbeat.
 */
function hearStops(): void {
  const stopping = (word: string) => {
    const [id, epoch] = word.split(':');
    for (const held of leases.read()) {
      if (held.id !== id) continue;
      if (epoch === undefined) emit({ kind: 'cancelled', id });
      else if (held.lease.startsWith(`${epoch} `)) emit({ kind: 'lost', id, lease: held.lease });
    }
  };
  stops.on('message', (_channel: string, text: string) => text.split(' ').forEach(stopping));
  stops.subscribe(keys.stopsChannel(start.pool)).catch((error: unknown) => {
    if (!stopped) logger.warn(`stops are not heard: ${messageOf(error).slice(0, 200)}`);
  });
}

async function stop(): Promise<void> {
  stopped = true;
  if (announcement)
    await withdraw(redis, keys, { role: 'worker', pool: start.pool }, announcement.id).catch(() => undefined);
  redis.disconnect();
  stops.disconnect();
  emit({ kind: 'stopped' });
  port.close();
}

// The announcement may have come before the connection was ready.
redis.on('ready', () => void beat());
setInterval(() => {
  renew().catch((error: unknown) => logger.warn(`leases not renewed: ${messageOf(error).slice(0, 200)}`));
}, start.heartbeatMs).unref();
setInterval(() => void beat(), ANNOUNCE_EVERY_MS).unref();
hearStops();
