/**
 * The largest seed of a job. llama.cpp and servers that stand on it read 4,294,967,295 as "choose one", and
 * an answer that was drawn so cannot be drawn again.
 */
export const MAX_SEED = 4_294_967_294;

/** Logits divided by less leave the range of 32-bit floats, in which engines compute. */
const LOWEST_TEMPERATURE = 0.01;

interface Sampling {
  readonly temperature: number;
  readonly top_p: number;
}

/**
 * The same wish in numbers by which every engine draws the same: temperatures below 0.01 are 0, and a `top_p`
 * of 0, which leaves the likeliest token alone, is a temperature of 0.
 */
export function steadySampling({ temperature, top_p }: Sampling): Sampling {
  if (top_p === 0) return { temperature: 0, top_p: 1 };
  return { temperature: temperature < LOWEST_TEMPERATURE ? 0 : temperature, top_p };
}

/** Any whole number as a seed: numbers that differ by a multiple of 4,294,967,295 are one seed. */
export function seedOf(wanted: number): number {
  const seeds = MAX_SEED + 1;
  const rest = wanted % seeds;
  return rest < 0 ? rest + seeds : rest + 0;
}
