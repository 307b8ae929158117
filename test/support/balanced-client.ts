import { Client } from './pipeline.ts';

/** A client behind a balancer of several instances: who is not there is passed over, as a balancer would. */
export class BalancedClient extends Client {
  /** The instances by name, in the order in which they are asked. */
  readonly urls = new Map<string, string>();

  override async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    let last: unknown;
    for (const url of this.urls.values()) {
      this.url = url;
      try {
        return await super.fetch(path, init);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }
}
