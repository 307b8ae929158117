/** A place of an engine that somebody has. */
export interface Place {
  /** Gives it to whoever waits for it. Leaving twice does nothing. */
  leave(): void;
}

/**
 * The places of an engine: as many as it runs jobs at once. A place is held while the engine works, and by
 * nothing that comes before or after. Who waits gets one in turn. Any number of callers at once.
 */
export class EnginePlaces {
  #free: number;
  readonly #waiting = new Set<(place: Place) => void>();

  constructor(places: number) {
    this.#free = places;
  }

  /** A place that is free now; undefined where there is none. */
  tryTake(): Place | undefined {
    if (this.#free === 0) return undefined;
    this.#free -= 1;
    return this.#place();
  }

  /** A place, as soon as it is this caller's turn. Throws the reason of the signal where that comes first. */
  async take(signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    const free = this.tryTake();
    if (free !== undefined) return free;
    let giveUp: () => void = () => undefined;
    const place = await new Promise<Place | undefined>((resolve) => {
      const turn = (next: Place) => resolve(next);
      giveUp = () => {
        this.#waiting.delete(turn);
        resolve(undefined);
      };
      this.#waiting.add(turn);
      signal.addEventListener('abort', giveUp, { once: true });
    });
    signal.removeEventListener('abort', giveUp);
    if (place !== undefined) return place;
    throw signal.reason;
  }

  #place(): Place {
    let isLeft = false;
    return {
      leave: () => {
        if (isLeft) return;
        isLeft = true;
        const [next] = this.#waiting;
        if (next === undefined) {
          this.#free += 1;
          return;
        }
        this.#waiting.delete(next);
        next(this.#place());
      },
    };
  }
}
