/**
 * The numbers that llama.cpp's sampler draws from a seed, one for each token: `std::mt19937` (Matsumoto and
 * Nishimura, 1998) through `std::uniform_real_distribution<double>`, which takes two of its 32-bit words, the
 * lower first.
 */
export class SeededDraws {
  readonly #state = new Uint32Array(624);
  #at = 624;

  constructor(seed: number) {
    this.#state[0] = seed;
    for (let at = 1; at < 624; at += 1) {
      const before = this.#word(at - 1);
      this.#state[at] = Math.imul(1_812_433_253, before ^ (before >>> 30)) + at;
    }
  }

  /** The next, at least 0 and below 1. */
  next(): number {
    const low = this.#next32();
    return (low + this.#next32() * 2 ** 32) / 2 ** 64;
  }

  #next32(): number {
    if (this.#at === 624) this.#refill();
    let word = this.#word(this.#at);
    this.#at += 1;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #refill(): void {
    for (let at = 0; at < 624; at += 1) {
      const mixed = (this.#word(at) & 0x80000000) | (this.#word((at + 1) % 624) & 0x7fffffff);
      this.#state[at] = this.#word((at + 397) % 624) ^ (mixed >>> 1) ^ (mixed % 2 === 0 ? 0 : 0x9908b0df);
    }
    this.#at = 0;
  }

  #word(at: number): number {
    return this.#state[at] ?? 0;
  }
}
