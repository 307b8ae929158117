import { integer, listOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

/** Renews leases: for each 1, or 2 where its cancellation was asked for, or 0 where it was lost. */
export const RENEW = loadScript(new URL('./lua/renew.lua', import.meta.url), listOf(integer));
