import { z } from 'zod';
import { embed } from './embed-engine.ts';
import type { EngineKind, EngineModel } from './engine-kind.ts';
import { llama } from './llama-engine.ts';
import { noop } from './noop-engine.ts';
import { openAi } from './openai-engine.ts';

/** The engines that models of a catalog can name. */
export class Engines {
  /** Reads an entry of a catalog by the engine that it names. */
  readonly model: z.ZodType<EngineModel>;

  constructor(kinds: readonly EngineKind[]) {
    const byName = new Map(kinds.map((kind) => [kind.name, kind]));
    this.model = z.looseObject({ engine: z.enum([...byName.keys()]) }).transform((entry, context) => {
      const read = byName.get(entry.engine)?.read.safeParse(entry);
      if (read?.success === true) return read.data;
      for (const issue of read?.error.issues ?? []) context.addIssue({ ...issue });
      return z.NEVER;
    });
  }
}

/** All engines of this version. */
export const ENGINES: readonly EngineKind[] = [llama, embed, openAi, noop];
