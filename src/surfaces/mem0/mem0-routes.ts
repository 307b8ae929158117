import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { checked } from '../http/checked.ts';
import { queryOf, type CallerApi } from '../http/caller-api.ts';
import { add, eraseAll, gone, MAX_LISTED, PATH, requireNone, type Answerer, type Mem0Request } from './mem0-acts.ts';
import { readFilters } from './mem0-filters.ts';
import { SERVER_ROUTES } from './mem0-server-routes.ts';
import * as shapes from './mem0-shapes.ts';

const MAX_PAGE = 100;

/**
 * By method and path, where `*` is the id of a memory, of an event, or the name of an owner. Those of the
 * hosted API begin with a version, and those of Mem0's own server do not.
 */
const ROUTES: Readonly<Record<string, Answerer>> = {
  ...SERVER_ROUTES,
  // Its client begins with this, and goes on only where it is told "ok".
  'GET v1/ping': () => Promise.resolve({ status: 'ok' }),
  'POST v3/memories/add': ({ body }, api) => add(body, api),
  'POST v3/memories/search': ({ body }, api) => search(body, api),
  'POST v3/memories': ({ body, query }, api) => list(body, query, api),
  'GET v1/memories/*': async (_, api, id) =>
    shapes.item(shapes.MemoryAnswer.parse(await api.json(`${PATH}/${id}`)), null),
  'PUT v1/memories/*': ({ body }, api, id) => update(body, api, id),
  'DELETE v1/memories/*': async ({ query }, api, id) => {
    requireNone(query);
    return gone(await api.json(`${PATH}/${id}`, 'DELETE'), 'Memory deleted successfully!');
  },
  'GET v1/memories/*/history': async (_, api, id) => {
    const { versions } = shapes.HistoryAnswer.parse(await api.json(`${PATH}/${id}/history`));
    return shapes.changes(decodeURIComponent(id), versions);
  },
  'DELETE v1/memories': ({ query }, api) => eraseAll(readFilters(Object.fromEntries(query)), api),
  'PUT v1/batch': ({ body }, api) => updateMany(body, api),
  'DELETE v1/batch': async ({ body }, api) => {
    const { memories } = checked(
      z.strictObject({ memories: z.array(z.strictObject({ memory_id: z.string() })) }),
      body,
    );
    const ids = memories.map(({ memory_id }) => memory_id);
    return gone(await api.json(`${PATH}/batch-delete`, 'POST', { ids }), `Deleted ${ids.length} memories.`);
  },
  'GET v1/entities': ({ query }, api) => users(query, api),
  'DELETE v2/entities/user/*': async (_, api, name) => {
    const { sha256 } = shapes.ErasureAnswer.parse(await api.json(`/v1/owners/${name}`, 'DELETE'));
    return { message: 'Entity deleted successfully.', receipts: [sha256] };
  },
  'GET v1/event/*': (_, api, id) => event(api, id),
};

/**
 * Answers a request of a client of Mem0 by our own API, as its caller: nothing is reached here
 * that the key does not reach there. What would change an answer and is not available is refused by name.
 * Throws CodedErrors.
 */
export async function answerMem0(request: Mem0Request, api: CallerApi): Promise<unknown> {
  const { method, parts } = request;
  for (const [route, answer] of Object.entries(ROUTES)) {
    const id = matchedId(route, [`${method} ${parts[0] ?? ''}`, ...parts.slice(1)]);
    if (id !== undefined) return answer(request, api, encodeURIComponent(id));
  }
  throw new CodedError('request_invalid', 'What Mem0 has at this address is not available here.');
}

/** The part that `*` stands for, '' where there is none; undefined where the route is another. */
function matchedId(route: string, parts: readonly string[]): string | undefined {
  const wanted = route.split('/');
  if (wanted.length !== parts.length) return undefined;
  let id = '';
  for (const [at, part] of parts.entries()) {
    if (wanted[at] === '*' && part !== '') id = part;
    else if (wanted[at] !== part) return undefined;
  }
  return id;
}

const Common = {
  filters: z.unknown(),
  categories: z.tuple([z.string()]).optional(),
  latest_only: z.boolean().default(true),
};
const Search = z.strictObject({
  ...Common,
  query: z.string(),
  output_format: z.string().optional(),
  top_k: z.int().min(1).max(MAX_PAGE).default(10),
});

async function search(body: unknown, api: CallerApi): Promise<unknown> {
  const { query, top_k: limit, filters, categories, latest_only } = checked(Search, body);
  const { owner, ...meant } = readFilters(filters);
  const filter = { ...meant, ...ofCategory(categories), superseded: !latest_only };
  const found = shapes.FoundAnswer.parse(await api.json(`${PATH}/search`, 'POST', { owner, query, limit, filter }));
  return { results: found.results.map(({ memory, score }) => shapes.item(memory, owner, score)) };
}

const Page = z.object({
  page: z.coerce.number().int().min(1).default(1),
  page_size: z.coerce.number().int().min(1).max(MAX_PAGE).default(MAX_PAGE),
});

async function list(body: unknown, query: URLSearchParams, api: CallerApi): Promise<unknown> {
  const { filters, categories, latest_only } = checked(z.strictObject(Common), body);
  const { page, page_size } = checked(Page, Object.fromEntries(query));
  const { owner, ...meant } = readFilters(filters);
  const limit = page * page_size;
  if (limit > MAX_LISTED)
    throw new CodedError('request_invalid', `page: only the first ${MAX_LISTED} memories are listed by pages here.`, {
      hint: 'list all with GET /v1/memories, or carry them away with GET /v1/memories/export',
    });
  const asked = { owner, ...meant, ...ofCategory(categories), superseded: String(!latest_only), limit };
  const { memories, next } = shapes.ListAnswer.parse(await api.json(`${PATH}?${queryOf(asked)}`));
  return {
    // How many there are is known where this is the last page.
    count: next === null ? memories.length : null,
    next: next === null ? null : `?page=${page + 1}&page_size=${page_size}`,
    previous: page === 1 ? null : `?page=${page - 1}&page_size=${page_size}`,
    results: memories.slice(limit - page_size).map((memory) => shapes.item(memory, owner)),
  };
}

const ofCategory = (categories: readonly [string] | undefined) =>
  categories === undefined ? {} : { category: categories[0] };

const Update = z.strictObject({ text: z.string().optional(), metadata: z.record(z.string(), z.unknown()).optional() });

async function update(body: unknown, api: CallerApi, id: string): Promise<unknown> {
  const changed = await api.json(`${PATH}/${id}`, 'PATCH', checked(Update, body));
  return shapes.item(shapes.MemoryAnswer.parse(changed), null);
}

async function updateMany(body: unknown, api: CallerApi): Promise<unknown> {
  const Many = z.strictObject({
    memories: z
      .array(z.strictObject({ memory_id: z.string(), text: z.string() }))
      .min(1)
      .max(MAX_PAGE),
  });
  const { memories } = checked(Many, body);
  for (const { memory_id, text } of memories)
    await api.json(`${PATH}/${encodeURIComponent(memory_id)}`, 'PATCH', { text });
  return { message: `Updated ${memories.length} memories.` };
}

async function users(query: URLSearchParams, api: CallerApi): Promise<unknown> {
  const { page, page_size } = checked(Page, Object.fromEntries(query));
  const { owners } = shapes.OwnersAnswer.parse(await api.json('/v1/owners'));
  const [first, end] = [(page - 1) * page_size, page * page_size];
  return {
    count: owners.length,
    next: end < owners.length ? `?page=${page + 1}&page_size=${page_size}` : null,
    previous: page === 1 ? null : `?page=${page - 1}&page_size=${page_size}`,
    results: owners.slice(first, end).map((name) => ({ id: name, name, type: 'user' })),
  };
}

const STATUS = { open: 'RUNNING', kept: 'SUCCEEDED', refused: 'FAILED', none: 'FAILED' } as const;

async function event(api: CallerApi, id: string): Promise<unknown> {
  const { job, outcome, reason, memories } = shapes.EventAnswer.parse(await api.json(`/v1/extractions/${id}`));
  return {
    id: job,
    event_type: 'ADD',
    status: STATUS[outcome],
    results: memories.map((memory) => ({ id: memory, event: 'ADD' })),
    metadata: reason === null ? {} : { reason },
  };
}
