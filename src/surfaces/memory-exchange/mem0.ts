import { z } from 'zod';
import { itemsOf, labelOf, timeOf, whyOf, type ImportItem } from './imported.ts';

/** A memory as Mem0 lists it; several names of its text are in use. */
const Item = z.looseObject({
  id: z.string().nullish(),
  memory: z.string().nullish(),
  text: z.string().nullish(),
  data: z.string().nullish(),
  content: z.string().nullish(),
  metadata: z.record(z.string(), z.json()).nullish(),
  categories: z.array(z.string()).nullish(),
  category: z.string().nullish(),
  type: z.enum(['semantic', 'episodic']).nullish().catch(null),
  user_id: z.string().nullish(),
  agent_id: z.string().nullish(),
  agent: z.string().nullish(),
  app_id: z.string().nullish(),
  run_id: z.string().nullish(),
  thread: z.string().nullish(),
  created_at: z.string().nullish(),
  expiration_date: z.string().nullish(),
  valid_from: z.string().nullish(),
  valid_to: z.string().nullish(),
});

const TEXTS = ['memory', 'text', 'data', 'content'] as const;

/** Whether a JSON value is a memory of Mem0, or a plain one: it has a text under a known name. */
export const isPlainMemory = (value: object): boolean =>
  TEXTS.some((name) => name in value && typeof Object.getOwnPropertyDescriptor(value, name)?.value === 'string');

/**
 * Reads memories of Mem0 and plain ones of JSON Lines. A file with memories of several people is one
 * person's here: those of the user that was named, or of the first that the file names.
 */
export class PlainMemories {
  #user: string | undefined;

  constructor(user: string | undefined) {
    this.#user = user;
  }

  *items(value: unknown, where: string): Generator<ImportItem> {
    const read = Item.safeParse(value);
    if (!read.success) {
      yield { kind: 'fault', where, why: whyOf(read.error) };
      return;
    }
    const item = read.data;
    if (item.user_id != null) this.#user ??= item.user_id;
    if (item.user_id != null && item.user_id !== this.#user) {
      yield { kind: 'skipped', reason: 'of another user', where };
      return;
    }
    const [category, ...others] = [...(item.category == null ? [] : [item.category]), ...(item.categories ?? [])];
    const until = /^\d{4}-\d{2}-\d{2}$/.test(item.expiration_date ?? '')
      ? `${item.expiration_date}T23:59:59.999Z`
      : null;
    yield* itemsOf(
      {
        text: TEXTS.map((name) => item[name]).find((text) => text != null) ?? '',
        type: item.type ?? 'semantic',
        from: item.memory == null ? 'JSON' : 'Mem0',
        reference: item.id ?? null,
        category: labelOf(category),
        agent: labelOf(item.agent ?? item.agent_id),
        thread: labelOf(item.thread ?? item.run_id),
        valid_from: timeOf(item.valid_from),
        valid_to: timeOf(item.valid_to ?? until),
        metadata: {
          ...item.metadata,
          ...(others.length === 0 ? {} : { categories: others }),
          ...(item.created_at == null ? {} : { created_at: item.created_at }),
          ...(item.app_id == null ? {} : { app_id: item.app_id }),
        },
      },
      where,
    );
  }
}
