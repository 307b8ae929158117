import { z } from 'zod';

const Bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/**
 * A GPU, or a slice of one (MIG), as its driver tells of it. What a driver does not tell is absent, and not
 * 0.
 */
export const Gpu = z.object({
  /** Its number on its machine, and of a slice the number of that after a colon. */
  place: z.string().regex(/^\d{1,2}(:\d{1,2})?$/),
  /** What `CUDA_VISIBLE_DEVICES` takes. */
  uuid: z.string().regex(/^(GPU|MIG)-[0-9A-Za-z/-]{1,80}$/),
  name: z.string().regex(/^[\x20-\x7e]{1,100}$/),
  memoryBytes: Bytes.optional(),
  freeBytes: Bytes.optional(),
  /** Of a whole GPU alone: how much of the time it computed, in percent. */
  busyPercent: z.number().min(0).max(100).optional(),
  celsius: z.number().min(-100).max(300).optional(),
  /** Errors of its memory since it was started that were found and not corrected. */
  uncorrectedErrors: Bytes.optional(),
});
export type Gpu = z.infer<typeof Gpu>;

export const MOST_GPUS = 64;

/**
 * Those that a process sees to whom `CUDA_VISIBLE_DEVICES` says this: all where it says nothing. As CUDA
 * does, it takes numbers, beginnings of names and slices, and nothing that comes after a word it does not
 * know. A number of a GPU in slices means its first slice.
 */
export function visibleGpus(gpus: readonly Gpu[], visible: string | undefined): Gpu[] {
  if (visible === undefined) return [...gpus];
  const seen: Gpu[] = [];
  for (const word of visible.split(',').map((one) => one.trim())) {
    const found = /^\d+$/.test(word)
      ? gpus.find(({ place }) => place.split(':')[0] === String(Number(word)))
      : gpus.find(({ uuid }) => /^(GPU|MIG)-./.test(word) && uuid.startsWith(word));
    if (found === undefined) break;
    if (!seen.includes(found)) seen.push(found);
  }
  return seen;
}
