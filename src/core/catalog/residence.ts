import type { Announcement } from './announcement.ts';

/** What workers say of one model. */
export type ServedModel = Pick<Announcement['models'][number], 'slots' | 'loaded' | 'coldMs'>;

/** Where a model is in memory, by what its workers say. */
export interface Residence {
  /** Workers that have it loaded. */
  readonly loaded: number;
  /** Jobs that run at once: on these, or on those that could load it where none has. */
  readonly slots: number;
  /** What a job waits for a load (ms) where it has to: the shortest; 0 where it has not. */
  readonly coldMs: number;
}

/** `each`: the slots of a worker that does not tell. Only a worker whose models take turns says `loaded`. */
export function residenceOf(said: readonly ServedModel[], each: number): Residence {
  const loaded = said.filter((one) => one.loaded !== false);
  const serving = loaded.length > 0 ? loaded : said;
  return {
    loaded: loaded.length,
    slots: serving.reduce((sum, { slots = each }) => sum + slots, 0),
    coldMs: loaded.length > 0 || said.length === 0 ? 0 : Math.min(...said.map(({ coldMs = 0 }) => coldMs)),
  };
}
