import { freemem } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { ANNOUNCE_EVERY_MS, signedAnnouncement, type Announcement } from '../catalog/announcement.ts';
import type { Claim } from '../execution/claims.ts';
import type { HeartbeatLink, HeartbeatListener } from '../execution/heartbeat.ts';
import type { GatewayClient } from './gateway-client.ts';
import type { RemoteStanding } from './remote-standing.ts';
import { MOST_RENEWED, PushedStop, ROUTES, Renewed, Standing } from './wire.ts';

/** A lease is acknowledged by its first renewal, so soon after it came, unless its engine began before. */
const ACKNOWLEDGE_AFTER_MS = 500;
const STOP_MS = 2_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

interface HeartbeatParts {
  readonly gateway: GatewayClient;
  readonly standing: RemoteStanding;
  readonly key: SigningKey;
  readonly renewEveryMs: number;
  /** The newest challenge to this worker's hardware, as it is heard. */
  readonly challenged: (nonce: string) => void;
  readonly logger: Logger;
}

/**
 * Renews the leases of this worker at its gateway, announces it, and hears what is to stop: at once where the
 * gateway's stream of stops can be read, and with the next renewal in any case. A worker whose event loop
 * stands still renews nothing, and its leases run out.
 */
export class RemoteHeartbeat implements HeartbeatLink {
  readonly #parts: HeartbeatParts;
  readonly #held = new Map<string, Claim>();
  readonly #ended = new AbortController();
  readonly #worker: string;
  readonly #warn: (error: unknown) => void;
  #listener: HeartbeatListener | undefined;
  #announcement: Omit<Announcement, 'at'> | undefined;
  #acknowledging: NodeJS.Timeout | undefined;

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
    this.#worker = workerIdOf(parts.key.public);
    this.#warn = rateLimited(5_000, (error) => parts.logger.warn(messageOf(error).slice(0, 300)));
  }

  listen(on: HeartbeatListener): void {
    this.#listener = on;
    const every = (ms: number, work: () => Promise<void>) => {
      const timer = setInterval(() => void work().catch(this.#warn), ms);
      this.#ended.signal.addEventListener('abort', () => clearInterval(timer));
    };
    every(this.#parts.renewEveryMs, () => this.#renew());
    every(ANNOUNCE_EVERY_MS, () => this.#announce());
    void this.#hearStops();
  }

  leaseOf({ epoch, token }: Claim): string {
    return `${epoch} ${this.#worker} ${token}`;
  }

  hold(claim: Claim): void {
    this.#held.set(claim.id, claim);
    this.#acknowledging ??= setTimeout(() => {
      this.#acknowledging = undefined;
      void this.#renew().catch(this.#warn);
    }, ACKNOWLEDGE_AFTER_MS);
  }

  drop(claim: Claim): void {
    if (this.#held.get(claim.id)?.token === claim.token) this.#held.delete(claim.id);
  }

  /** The claim of a job that this worker holds. */
  claimOf(job: string): Claim | undefined {
    return this.#held.get(job);
  }

  announce(announcement: Omit<Announcement, 'at'>): void {
    this.#announcement = announcement;
    void this.#announce().catch(this.#warn);
  }

  /** Withdraws the announcement; a gateway that does not answer holds this up for 2 s. */
  async stop(): Promise<void> {
    this.#ended.abort();
    clearTimeout(this.#acknowledging);
    const request = { method: 'DELETE', target: ROUTES.announcement, signal: AbortSignal.timeout(STOP_MS) } as const;
    await this.#parts.gateway.ask(z.unknown(), request).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const all = [...this.#held.values()];
    for (let at = 0; at < all.length; at += MOST_RENEWED) await this.#renewThese(all.slice(at, at + MOST_RENEWED));
  }

  async #renewThese(claims: readonly Claim[]): Promise<void> {
    const leases = claims.map(({ id, epoch, secret }) => ({ job: id, epoch, secret }));
    const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(2 * this.#parts.renewEveryMs)]);
    const request = { method: 'POST', target: ROUTES.renewals, json: { leases }, signal } as const;
    const answer = await this.#parts.gateway.ask(Renewed, { ...request, patienceMs: this.#parts.renewEveryMs });
    this.#parts.standing.hear(answer.bar);
    claims.forEach((claim, at) => this.#stopped(claim, answer.leases[at]));
  }

  #stopped(claim: Claim, why: 'renewed' | 'cancelled' | 'lost' | undefined): void {
    if (why === 'cancelled') this.#listener?.cancelled(claim.id);
    if (why === 'lost') this.#listener?.lost(claim.id, this.leaseOf(claim));
  }

  async #announce(): Promise<void> {
    if (this.#announcement === undefined || this.#ended.signal.aborted) return;
    const { gateway, key, standing, challenged } = this.#parts;
    const facts = { ...this.#announcement, inFlight: this.#held.size, freeMemoryBytes: freemem() };
    const json = { announcement: signedAnnouncement({ ...facts, at: new Date().toISOString() }, key) };
    const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(2 * ANNOUNCE_EVERY_MS)]);
    const said = await gateway.ask(Standing, { method: 'PUT', target: ROUTES.announcement, json, signal });
    standing.hear(said.bar);
    if (said.hardware_challenge !== null) challenged(said.hardware_challenge);
  }

  /** Without the stream, renewals say the same a little later. */
  async #hearStops(): Promise<void> {
    const { signal } = this.#ended;
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        const response = await this.#parts.gateway.stream(ROUTES.stops, signal);
        for await (const data of eventsOf(response)) {
          failures = 0;
          this.#hear(data);
        }
      } catch (error) {
        this.#parts.logger.debug(`stops are not heard: ${messageOf(error).slice(0, 200)}`);
      }
      const retryMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 10));
      await pause(retryMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  #hear(data: string): void {
    const stop = PushedStop.parse(JSON.parse(data));
    const claim = this.#held.get(stop.job);
    if (claim === undefined || (stop.epoch !== null && stop.epoch !== claim.epoch)) return;
    this.#stopped(claim, stop.why);
  }
}

/** Longer than any event of ours. */
const MOST_EVENT = 65_536;

/** The data of the events of a stream (WHATWG HTML, server-sent events), each on one line as we send them. */
async function* eventsOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of response.body ?? []) {
    text += decoder.decode(piece as Uint8Array, { stream: true });
    if (text.length > MOST_EVENT) throw new Error('The gateway sends an event that is too long.');
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data: ')) yield line.slice('data: '.length);
  }
}
