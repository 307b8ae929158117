/** Those who wait in one line, and how much the line was served: the least served is next. */
interface Line<Waiting> {
  served: number;
  readonly waiting: Waiting;
}

/**
 * What waits, by the house that it belongs to and by a door of that house. It is served first from the house
 * that was served least, there from the door that was served least, and there in the order of coming. Who
 * comes anew counts as served as much as the one that was served last: neither a long queue nor a long
 * silence gives an advantage.
 */
export class FairQueue<Item> {
  readonly #houses = new Map<string, Line<Map<string, Line<Item[]>>>>();
  /** How much a house was served before its last turn, and a door of each house likewise. */
  #level = 0;
  readonly #levels = new Map<string, number>();

  /** Whether nothing waits. */
  get isEmpty(): boolean {
    return this.#houses.size === 0;
  }

  push(house: string, door: string, item: Item): void {
    const doors = lineOf(this.#houses, house, this.#level, () => new Map<string, Line<Item[]>>());
    lineOf(doors, door, this.#levels.get(house) ?? 0, (): Item[] => []).push(item);
  }

  /** Takes what is next; undefined if nothing waits. */
  take(): Item | undefined {
    const next = leastServed(this.#houses);
    if (next === undefined) return undefined;
    const [house, doors] = next;
    const [door, items] = leastServed(doors.waiting) ?? ['', undefined];
    const item = items?.waiting.shift();
    this.#level = doors.served;
    this.#levels.set(house, items?.served ?? 0);
    doors.served += 1;
    if (items !== undefined) items.served += 1;
    if (items === undefined || items.waiting.length === 0) this.#leave(house, doors, door);
    return item;
  }

  /** Takes a door with nobody before it out of its house, and an empty house with it. */
  #leave(house: string, doors: Line<Map<string, Line<Item[]>>>, door: string): void {
    doors.waiting.delete(door);
    if (doors.waiting.size > 0) return;
    this.#houses.delete(house);
    this.#levels.delete(house);
  }
}

/** The line of this name; a new one is as if it had been served as much as `level`. */
function lineOf<Waiting>(
  lines: Map<string, Line<Waiting>>,
  name: string,
  level: number,
  empty: () => Waiting,
): Waiting {
  const known = lines.get(name);
  if (known !== undefined) return known.waiting;
  const waiting = empty();
  lines.set(name, { served: level, waiting });
  return waiting;
}

function leastServed<Waiting>(lines: ReadonlyMap<string, Line<Waiting>>): [string, Line<Waiting>] | undefined {
  let least: [string, Line<Waiting>] | undefined;
  for (const line of lines) if (least === undefined || line[1].served < least[1].served) least = line;
  return least;
}
