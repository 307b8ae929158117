/** One endpoint gets at most this many messages at once. */
const AT_ONCE_TO_ONE = 8;

/** Who has messages to send. */
export interface Asking {
  readonly tenant: string;
  readonly target: string;
  /** Whether the last message failed. */
  readonly isFailing: boolean;
}

/** The place of one message that is being sent. */
export interface DeliveryPlace {
  /** Its receiver is slow: another message may have the place, and this one goes on. Call it once. */
  stepAside(): void;
  /** The message was sent, or was not. Call it once, and nothing after it. */
  leave(): void;
}

/**
 * The places in which messages are sent, shared by tenant and then by endpoint. A tenant may have no more
 * messages under way than places are free, nor more than half of all, and of what it may have an endpoint
 * no more than its tenant has left. A message whose receiver is slow gives its place back and still counts
 * as its tenant's: so places are never full of slow ones for longer than it takes to step aside, and the
 * more a tenant has under way, the more room it leaves to the others. An endpoint that has just failed
 * gets one message.
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

  /**
   * Gives out what is free, one place at a time, in turns by tenant and then by endpoint. Who may have no
   * more stands in the answer with nothing; who only comes too late this time is missing in it.
   */
  share<One extends Asking>(asking: readonly One[]): Map<One, DeliveryPlace[]> {
    const shares = new Map<One, DeliveryPlace[]>();
    if (this.free === 0) return shares;
    const turns = new Map<string, One[]>();
    for (const one of asking)
      if (this.room(one) === 0) shares.set(one, []);
      else listIn(turns, one.tenant).push(one);
    while (turns.size > 0 && this.free > 0)
      for (const [tenant, waiting] of turns) {
        const one = waiting.shift();
        if (one === undefined) turns.delete(tenant);
        if (one === undefined || this.room(one) === 0) continue;
        listIn(shares, one).push(this.#enter(one));
        waiting.push(one);
      }
    return shares;
  }

  /** How many more messages may be sent to the endpoint now. */
  room({ tenant, target, isFailing }: Asking): number {
    const [ofTenant, ofTarget] = [this.#ofTenants.get(tenant) ?? 0, this.#ofTargets.get(nameOf(tenant, target)) ?? 0];
    const most = isFailing ? 1 : AT_ONCE_TO_ONE;
    // Each place that is given leaves one less to compare with.
    const left = (room: number) => Math.min(this.free - room, this.#total / 2) - ofTenant - room;
    let room = 0;
    while (ofTarget + room < most && left(room) > 0 && (ofTarget + room === 0 || ofTarget + room < left(room)))
      room += 1;
    return room;
  }

  #enter({ tenant, target }: Asking): DeliveryPlace {
    this.#count(tenant, target, 1);
    this.#taken += 1;
    let isAside = false;
    return {
      stepAside: () => {
        isAside = true;
        this.#taken -= 1;
      },
      leave: () => {
        this.#count(tenant, target, -1);
        if (!isAside) this.#taken -= 1;
      },
    };
  }

  #count(tenant: string, target: string, change: number): void {
    add(this.#ofTenants, tenant, change);
    add(this.#ofTargets, nameOf(tenant, target), change);
  }
}

const nameOf = (tenant: string, target: string) => `${tenant} ${target}`;

/** The list of this name, which is empty where there was none. */
function listIn<Name, Item>(lists: Map<Name, Item[]>, name: Name): Item[] {
  const list = lists.get(name) ?? [];
  lists.set(name, list);
  return list;
}

function add(counts: Map<string, number>, name: string, change: number): void {
  const count = (counts.get(name) ?? 0) + change;
  if (count === 0) counts.delete(name);
  else counts.set(name, count);
}
