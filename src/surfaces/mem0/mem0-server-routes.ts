import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { checked } from '../http/checked.ts';
import { queryOf, type CallerApi } from '../http/caller-api.ts';
import { add, eraseAll, gone, MAX_LISTED, PATH, requireNone, type Answerer } from './mem0-acts.ts';
import { readNamed } from './mem0-filters.ts';
import * as shapes from './mem0-shapes.ts';

/** Owners are erased one after the other, while the caller waits. */
const MAX_RESET = 100;

/**
 * The routes of the server that Mem0 gives away: without a version, and with the names of user, agent and run
 * beside the rest. `POST configure` is none of them: what runs here is not for a caller to choose.
 */
export const SERVER_ROUTES: Readonly<Record<string, Answerer>> = {
  'POST memories': async ({ body }, api) => ({ results: [], ...(await add(body, api)) }),
  'GET memories': ({ query }, api) => list(query, api),
  'DELETE memories': async ({ query }, api) => {
    const names = checked(Names, Object.fromEntries(query));
    return { ...(await eraseAll(readNamed(names, undefined), api)), message: 'All relevant memories deleted' };
  },
  'GET memories/*': async (_, api, id) => shapes.item(shapes.MemoryAnswer.parse(await api.json(`${PATH}/${id}`)), null),
  'PUT memories/*': async ({ body }, api, id) => {
    await api.json(`${PATH}/${id}`, 'PATCH', checked(Update, body));
    return { message: 'Memory updated successfully!' };
  },
  'DELETE memories/*': async ({ query }, api, id) => {
    requireNone(query);
    return gone(await api.json(`${PATH}/${id}`, 'DELETE'), 'Memory deleted successfully');
  },
  'GET memories/*/history': async (_, api, id) => {
    const { versions } = shapes.HistoryAnswer.parse(await api.json(`${PATH}/${id}/history`));
    return shapes.changes(decodeURIComponent(id), versions).map((change) => ({ ...change, is_deleted: false }));
  },
  'POST search': ({ body }, api) => search(body, api),
  'POST reset': (_, api) => reset(api),
};

const Name = z.string().nullish();
const NAMES = { user_id: Name, agent_id: Name, run_id: Name };
const Names = z.strictObject(NAMES);
const Update = z.strictObject({ text: z.string(), metadata: z.record(z.string(), z.unknown()).optional() });

/** Its `limit` and `top_k` are one thing, by the age of the server. */
const bounded = (most: number, usual: number) => ({
  limit: z.coerce.number().int().min(1).max(most).optional(),
  top_k: z.coerce.number().int().min(1).max(most).default(usual),
});
const List = z.strictObject({ ...NAMES, ...bounded(MAX_LISTED, 100) });

async function list(query: URLSearchParams, api: CallerApi): Promise<unknown> {
  const { top_k, limit = top_k, ...names } = checked(List, Object.fromEntries(query));
  const { owner, ...meant } = readNamed(names, undefined);
  const asked = queryOf({ owner, ...meant, limit });
  const { memories, next } = shapes.ListAnswer.parse(await api.json(`${PATH}?${asked}`));
  // Beyond Mem0: whether there are more than these.
  return { results: memories.map((memory) => shapes.item(memory, owner)), more: next !== null };
}

const Search = z.strictObject({ ...NAMES, ...bounded(100, 20), query: z.string(), filters: z.unknown().optional() });

async function search(body: unknown, api: CallerApi): Promise<unknown> {
  const { query, filters, top_k, limit = top_k, ...names } = checked(Search, body);
  const { owner, ...filter } = readNamed(names, filters);
  const found = shapes.FoundAnswer.parse(await api.json(`${PATH}/search`, 'POST', { owner, query, limit, filter }));
  return { results: found.results.map(({ memory, score }) => shapes.item(memory, owner, score)) };
}

/** Erases every owner of the tenant; where the work breaks off, asking again goes on with it. */
async function reset(api: CallerApi): Promise<unknown> {
  const { owners } = shapes.OwnersAnswer.parse(await api.json('/v1/owners'));
  if (owners.length > MAX_RESET)
    throw new CodedError('request_invalid', `There are ${owners.length} users, and reset erases up to ${MAX_RESET}.`, {
      hint: 'erase them one by one with DELETE /v1/owners/{owner}',
    });
  const receipts: string[] = [];
  for (const owner of owners) {
    const { sha256 } = shapes.ErasureAnswer.parse(await api.json(`/v1/owners/${encodeURIComponent(owner)}`, 'DELETE'));
    receipts.push(sha256);
  }
  return { message: 'All memories reset', receipts };
}
