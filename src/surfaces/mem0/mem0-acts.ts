import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { checked } from '../http/checked.ts';
import { queryOf, type CallerApi } from '../http/caller-api.ts';
import type { Meant } from './mem0-filters.ts';
import * as shapes from './mem0-shapes.ts';

/** Where our own routes are. */
export const PATH = '/v1/memories';
/** Pages are counted and ours are not: what is before one is read again for each. */
export const MAX_LISTED = 1_000;
const MAX_ERASED = 1_000;
/** An owner has no more memories than this takes; whoever adds some meanwhile keeps them. */
const MAX_ROUNDS = 100;

/** A request to one of Mem0's addresses; `parts` are those of its path, decoded. */
export interface Mem0Request {
  readonly method: string;
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/** `id` is the part of the path that a route leaves open, encoded again. */
export type Answerer = (request: Mem0Request, api: CallerApi, id: string) => Promise<unknown>;

const Name = z.string().min(1).max(256).nullish();
const Add = z.strictObject({
  messages: z.union([z.string(), z.array(z.unknown())]),
  user_id: z.string({ error: 'must be there: whose memory it is' }),
  agent_id: Name,
  run_id: Name,
  metadata: z.record(z.string(), z.unknown()).nullish(),
  infer: z.boolean().default(true),
});

/** Remembers at once, or begins a job that does. Throws CodedErrors. */
export async function add(body: unknown, api: CallerApi): Promise<Record<string, unknown>> {
  const { messages, user_id: owner, agent_id, run_id, metadata, infer } = checked(Add, body);
  const added = shapes.AddedAnswer.parse(
    await api.json(PATH, 'POST', {
      owner,
      ...(typeof messages === 'string' ? { text: messages } : { messages }),
      infer,
      agent: agent_id ?? undefined,
      thread: run_id ?? undefined,
      metadata: metadata ?? undefined,
    }),
  );
  if ('job' in added)
    return {
      message: 'Memory processing has been queued for background execution',
      status: 'PENDING',
      event_id: added.job,
    };
  return {
    results: added.memories.map(({ outcome, memory }) => ({
      ...shapes.item(memory, owner),
      event: outcome === 'created' ? 'ADD' : 'NONE',
    })),
  };
}

/** Erases all that is meant and that the key may change; what it may not stays, and ends the work. */
export async function eraseAll({ owner, ...meant }: Meant, api: CallerApi): Promise<Record<string, unknown>> {
  const receipts: string[] = [];
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const asked = queryOf({ owner, ...meant, superseded: 'true', limit: MAX_ERASED });
    const { memories } = shapes.ListAnswer.parse(await api.json(`${PATH}?${asked}`));
    if (memories.length === 0) break;
    const ids = memories.map(({ id }) => id);
    const { erasures } = shapes.ErasedAnswer.parse(await api.json(`${PATH}/batch-delete`, 'POST', { owner, ids }));
    receipts.push(...erasures.map(({ sha256 }) => sha256));
  }
  return { message: 'Memories deleted successfully!', receipts };
}

/** What is answered where memories were erased, with the digests of the receipts. */
export function gone(answer: unknown, message: string): unknown {
  return { message, receipts: shapes.ErasedAnswer.parse(answer).erasures.map(({ sha256 }) => sha256) };
}

/** Throws CodedError `request_invalid` where anything is asked for beside the address. */
export function requireNone(query: URLSearchParams): void {
  const [name] = query.keys();
  if (name !== undefined) throw new CodedError('request_invalid', `${name.slice(0, 64)}: not available.`);
}
