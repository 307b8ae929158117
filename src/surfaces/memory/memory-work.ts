import { z } from 'zod';
import { MemoryEntry, ORIGIN_KINDS } from '../../proof/memory/entry.ts';
import { MemoryId } from '../../proof/receipts/fields.ts';

const { shape } = MemoryEntry;

/** The owner, by the id that the memory gave it: one who was erased meanwhile is never made again. */
const place = z.string();

const ABOUT = {
  place,
  /** The API key that asked, and the keys whose memories count as its own; null for all. */
  source: z.string(),
  sources: z.array(z.string()).nullable(),
  category: shape.category,
  agent: shape.agent,
  thread: shape.thread,
  /** The memories that the answer rests on. */
  rests_on: z.array(MemoryId).max(256),
};

/**
 * What becomes of a job's answer in the memory of an owner; of one that was only shown memories nothing is
 * kept. It stands in the surface of the job, is sealed with it, and erased with it.
 */
export const MemoryWork = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('extract'),
    ...ABOUT,
    mark: z.string(),
    /** The least of those who said it: nothing that is made of it is trusted more. */
    at_most: z.enum(ORIGIN_KINDS),
    type: shape.type.optional(),
    reference: z.string().max(512).nullable(),
    valid_from: shape.valid_from,
    valid_to: shape.valid_to,
    metadata: shape.metadata,
  }),
  z.strictObject({ kind: z.literal('exchange'), ...ABOUT, question: shape.text }),
  z.strictObject({ kind: z.literal('shown'), place }),
]);
export type MemoryWork = z.infer<typeof MemoryWork>;

const Holder = z.object({ memory: MemoryWork });

/** What is to be done with the answer of a job, by what its surface keeps; undefined where nothing is. */
export function memoryWorkOf(surface: string | undefined): MemoryWork | undefined {
  // Most jobs have none, and their surfaces are not parsed.
  if (surface === undefined || !surface.includes('"memory":')) return undefined;
  return Holder.safeParse(JSON.parse(surface)).data?.memory;
}

/** The same, as a surface keeps it; empty where nothing is to be done. */
export function keptWork(surface: string | undefined): { readonly memory?: MemoryWork } {
  const memory = memoryWorkOf(surface);
  return memory === undefined ? {} : { memory };
}
