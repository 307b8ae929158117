import { z } from 'zod';
import type { HardwareLink } from '../execution/hardware-hand-in.ts';
import type { GatewayClient } from './gateway-client.ts';
import { ROUTES } from './wire.ts';

const PATIENCE_MS = 30_000;

/** Hardware evidence by way of a gateway, which names the newest challenge with each announcement. */
export class RemoteHardware implements HardwareLink {
  readonly #gateway: GatewayClient;
  #newest: string | undefined;

  constructor(gateway: GatewayClient) {
    this.#gateway = gateway;
  }

  /** What the gateway names now. */
  hear(nonce: string): void {
    this.#newest = nonce;
  }

  newest(): Promise<string | undefined> {
    return Promise.resolve(this.#newest);
  }

  async handIn(evidence: string): Promise<void> {
    const request = { method: 'PUT', target: ROUTES.hardware, json: { evidence }, patienceMs: PATIENCE_MS } as const;
    await this.#gateway.ask(z.unknown(), request);
  }
}
