import { connect as connectPlain, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { AbstractConnector, Redis } from 'ioredis';
import { messageOf } from '../errors/coded-error.ts';
import type { Endpoint } from '../config/redis-address.ts';
import { cells, integer } from './reply.ts';

/** What a node is asked is answered within this time, or another node is asked. */
const ASK_MS = 2_000;
const ASK_AGAIN_MS = 250;
const SLOTS = 16_384;

interface Parts {
  /** Any nodes of the Cluster; the others are learnt from them. */
  readonly nodes: readonly Endpoint[];
  /** The name in braces that all keys of the shard have. */
  readonly shard: string;
  readonly tls: boolean;
  readonly login: { readonly username?: string; readonly password?: string };
}

/**
 * How a connection finds the node of a Redis Cluster that holds a shard. All keys of a shard are in one slot,
 * so there is one such node at a time, and to us a Cluster is a server that moves: scripts, transactions,
 * pub/sub, WAIT and commands without keys mean the same as on a server that stands alone. Whoever is told
 * MOVED connects again, and is brought to the new node.
 */
export function clusterConnector(parts: Parts): new () => AbstractConnector {
  return class extends ClusterConnector {
    constructor() {
      super(parts);
    }
  };
}

class ClusterConnector extends AbstractConnector {
  readonly #parts: Parts;
  readonly #slot: number;
  #known: readonly Endpoint[];
  #next = 0;

  constructor(parts: Parts) {
    super(ASK_MS);
    this.#parts = parts;
    this.#slot = slotOf(parts.shard);
    this.#known = parts.nodes;
  }

  /** Whether this is the node it was said to be; a node that was deposed meanwhile is left again. */
  override check(info: { readonly role?: string }): boolean {
    return info.role === 'master';
  }

  /** Asks until a node knows who holds the shard; ends early only where the connection is given up. */
  override async connect(emit: (type: string, error: Error) => void): Promise<Socket | TLSSocket> {
    this.connecting = true;
    for (;;) {
      let why: unknown = 'no node says who holds the shard';
      const owner = await this.#owner().catch((error: unknown) => void (why = messageOf(error)));
      if (!this.#isConnecting()) throw new Error('Connection is closed.');
      if (owner !== undefined) return this.#open(owner);
      emit('error', new Error(`Redis Cluster: ${String(why)}`));
      await sleep(ASK_AGAIN_MS);
    }
  }

  #isConnecting(): boolean {
    return this.connecting;
  }

  #open(owner: Endpoint): Socket | TLSSocket {
    const stream = this.#parts.tls ? connectTls({ ...owner }) : connectPlain({ ...owner });
    stream.once('error', (error: Error) => {
      this.firstError = error;
    });
    this.stream = stream;
    return stream;
  }

  /** Asks one node, each time another one: what one of them believes may be old. */
  async #owner(): Promise<Endpoint | undefined> {
    const all = [...this.#known, ...this.#parts.nodes];
    const node = all[this.#next % all.length];
    this.#next += 1;
    if (node === undefined) return undefined;
    const ranges = await askSlots(node, this.#parts);
    const known = ranges.flatMap(({ nodes }) => nodes);
    if (known.length > 0) this.#known = known;
    return ranges.find(({ first, last }) => first <= this.#slot && this.#slot <= last)?.nodes[0];
  }
}

interface SlotRange {
  readonly first: number;
  readonly last: number;
  /** The master first. */
  readonly nodes: readonly Endpoint[];
}

async function askSlots(node: Endpoint, { tls, login }: Pick<Parts, 'tls' | 'login'>): Promise<SlotRange[]> {
  const redis = new Redis({
    ...node,
    ...login,
    ...(tls ? { tls: {} } : {}),
    lazyConnect: true,
    disableClientInfo: true,
    enableReadyCheck: false,
    connectTimeout: ASK_MS,
    commandTimeout: ASK_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let last: unknown;
  redis.on('error', (error) => {
    last = error;
  });
  try {
    await redis.connect();
    return parseSlots(await redis.cluster('SLOTS'), node);
  } catch (error) {
    throw last instanceof Error ? last : error;
  } finally {
    redis.disconnect();
  }
}

/** A node that does not know its own address answers with none: it is where it was asked. */
function parseSlots(reply: unknown, asked: Endpoint): SlotRange[] {
  return cells(reply).map((range) => {
    const [first, last, ...nodes] = cells(range);
    const endpoints = nodes.map((node) => {
      const [host, port] = cells(node);
      return { host: typeof host === 'string' && host !== '' ? host : asked.host, port: integer(port) };
    });
    return { first: integer(first), last: integer(last), nodes: endpoints };
  });
}

/** The slot of the keys that have this name in braces: CRC16 (XMODEM) of it. */
export function slotOf(shard: string): number {
  let crc = 0;
  for (const byte of Buffer.from(shard)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  }
  return (crc & 0xffff) % SLOTS;
}
