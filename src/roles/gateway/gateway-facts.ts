/** What the controllers of a gateway tell of it. */
export class GatewayFacts {
  readonly pool: string;
  /** How long an acknowledged lease holds, ms. */
  readonly leaseMs: number;

  constructor(pool: string, leaseMs: number) {
    this.pool = pool;
    this.leaseMs = leaseMs;
  }
}
