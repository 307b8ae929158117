import type { DemandLink } from '../execution/links.ts';
import type { GatewayClient } from './gateway-client.ts';
import { ROUTES, Waiting } from './wire.ts';

const ASK_MS = 5_000;

/** What waits for the models of a worker, as its gateway sees it. */
export class RemoteDemand implements DemandLink {
  readonly #gateway: GatewayClient;

  constructor(gateway: GatewayClient) {
    this.#gateway = gateway;
  }

  async heads(models: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const signal = AbortSignal.timeout(ASK_MS);
    const request = { method: 'POST', target: ROUTES.waiting, json: { models }, signal } as const;
    const { waiting } = await this.#gateway.ask(Waiting, request);
    return new Map(waiting.map(({ model, next }) => [model, next]));
  }
}
