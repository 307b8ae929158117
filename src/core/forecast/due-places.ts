import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { BandName } from '../../proof/contract/bands.ts';
import { DUE_PLACE, FAIR_PLACE, LANES, LATER, TURNS } from '../backlog/lua-parts.ts';
import type { Place } from './offer.ts';
import type { Forecast } from './outlooks.ts';

const READ = loadScript(new URL('./lua/read-due.lua', import.meta.url), parsePlace, {
  included: [LANES, TURNS, FAIR_PLACE, LATER, DUE_PLACE],
});

/** A job that is not to begin before a time. */
export interface DueJob {
  /** Empty where it is not submitted. */
  readonly id: string;
  readonly queue: string;
  readonly flow: string;
  readonly band: BandName;
  readonly notBeforeMs: number;
}

/** Where a job stands when its time has come, by what is due until then: `duePlace` says how. */
export function readDuePlace(
  { redis, keys }: { readonly redis: Redis; readonly keys: RedisKeys },
  { offer, slots, perCostMs, cost, weight }: Pick<Forecast, 'offer' | 'slots' | 'perCostMs' | 'cost' | 'weight'>,
  { id, queue, flow, band, notBeforeMs }: DueJob,
): Promise<Place> {
  const figures = [slots, offer.perEndMs, perCostMs, cost / weight, weight];
  return READ.run(redis, [keys.open], [keys.prefix, queue, flow, notBeforeMs, ...figures, id, band]);
}

function parsePlace(reply: unknown): Place {
  const [ends, distance] = cells(reply);
  return { ends: Number(text(ends)), distance: Number(text(distance)) };
}
