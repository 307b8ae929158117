import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import type { Claim } from '../execution/claims.ts';
import type { PieceLink } from '../execution/links.ts';
import type { GatewayClient } from './gateway-client.ts';
import { MOST_PIECES, MOST_PIECE_TEXT, ROUTES, type Pieces } from './wire.ts';

type Piece = Pieces['pieces'][number];

/** More than this does not wait for the gateway: what is provisional is dropped. */
const MOST_WAITING = 4 * MOST_PIECE_TEXT;
const SETTLE_MS = 2_000;

/**
 * Sends the pieces of all jobs of this worker, those that gather while a request is under way with the next.
 */
export class RemotePieces implements PieceLink {
  readonly #gateway: GatewayClient;
  readonly #waiting: Piece[] = [];
  #length = 0;
  #sending: Promise<void> | undefined;

  constructor(gateway: GatewayClient) {
    this.#gateway = gateway;
  }

  send({ id, epoch, secret }: Claim, number: number, text: string): boolean {
    if (this.#length + text.length > MOST_WAITING || text.length > MOST_PIECE_TEXT) return false;
    this.#waiting.push({ job: id, epoch, secret, number, text });
    this.#length += text.length;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
    return true;
  }

  /** Resolves when what was written is sent or given up; a gateway that is away holds this up for 2 s. */
  async settled(): Promise<void> {
    if (this.#sending !== undefined) await Promise.race([this.#sending, pause(SETTLE_MS, undefined, { ref: false })]);
  }

  async #sendAll(): Promise<void> {
    // What one turn of the event loop writes goes together.
    await pause(0);
    while (this.#waiting.length > 0) {
      const pieces = this.#next();
      const request = { method: 'POST', target: ROUTES.pieces, json: { pieces } } as const;
      await this.#gateway.ask(z.unknown(), request).catch(() => undefined);
    }
  }

  #next(): Piece[] {
    let length = 0;
    const fits = this.#waiting.slice(0, MOST_PIECES).findIndex(({ text }) => {
      length += text.length;
      return length > MOST_PIECE_TEXT;
    });
    const pieces = this.#waiting.splice(0, fits === -1 ? MOST_PIECES : fits);
    this.#length -= pieces.reduce((sum, { text }) => sum + text.length, 0);
    return pieces;
  }
}
