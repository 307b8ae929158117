/** One endpoint gets at most this many messages at once. */
const AT_ONCE_TO_ONE = 8;

/**
 * The places in which messages are sent, shared by tenant and then by endpoint. A tenant may hold no more
 * than are still free, and of what it may hold an endpoint no more than its tenant has left: however many
 * tenants and endpoints are slow, the next one finds a place. An endpoint that has just failed gets one.
 */
export class DeliveryPlaces {
  readonly #total: number;
  readonly #ofTenants = new Map<string, number>();
  readonly #ofTargets = new Map<string, number>();
  #taken = 0;

  constructor(total: number) {
    this.#total = total;
  }

  get free(): number {
    return this.#total - this.#taken;
  }

  /** How many more messages may be sent to the endpoint now. */
  room(tenant: string, target: string, isFailing: boolean): number {
    const [ofTenant, ofTarget] = [this.#ofTenants.get(tenant) ?? 0, this.#ofTargets.get(nameOf(tenant, target)) ?? 0];
    const most = isFailing ? 1 : AT_ONCE_TO_ONE;
    let room = 0;
    // Each place that is given leaves one less to compare with.
    while (
      ofTarget + room < most &&
      ofTenant + room < this.free - room &&
      (ofTarget + room === 0 || ofTarget + room < this.free - ofTenant - 2 * room)
    )
      room += 1;
    return room;
  }

  enter(tenant: string, target: string): void {
    this.#taken += 1;
    add(this.#ofTenants, tenant, 1);
    add(this.#ofTargets, nameOf(tenant, target), 1);
  }

  leave(tenant: string, target: string): void {
    this.#taken -= 1;
    add(this.#ofTenants, tenant, -1);
    add(this.#ofTargets, nameOf(tenant, target), -1);
  }
}

const nameOf = (tenant: string, target: string) => `${tenant} ${target}`;

function add(counts: Map<string, number>, name: string, change: number): void {
  const count = (counts.get(name) ?? 0) + change;
  if (count === 0) counts.delete(name);
  else counts.set(name, count);
}
