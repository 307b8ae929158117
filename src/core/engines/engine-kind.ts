import { z } from 'zod';
import { Task } from '../../proof/receipts/fields.ts';
import type { Feature } from '../../proof/tasks/task-input.ts';
import type { Engine } from './engine.ts';
import { DEFAULT_HINT, type ModelHint } from './time-hint.ts';

/** The fields that a catalog entry has, whatever its engine. */
export const ENTRY_FIELDS = {
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens'),
  pool: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens'),
  tasks: z.array(Task).min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hexadecimal digits'),
  /** What a job is expected to take, until some were confirmed, and a load, until there was one. */
  hint: z
    .strictObject({
      base_ms: z.number().min(0).max(600_000),
      token_ms: z.number().min(0).max(60_000),
      load_ms: z.number().min(0).max(3_600_000).default(DEFAULT_HINT.load_ms),
    })
    .default(DEFAULT_HINT),
  /** Memory of GPUs that it needs: a worker whose GPUs have less does not serve it. */
  gpuMemoryMiB: z.number().int().min(1).max(16_777_216).optional(),
};

interface Entry {
  readonly hint: ModelHint;
  readonly name: string;
  readonly pool: string;
  readonly tasks: Task[];
  readonly sha256: string;
  readonly engine: string;
  readonly gpuMemoryMiB?: number | undefined;
}

/** What others may ask of a model. They never ask for its engine by name. */
export interface Capabilities {
  /** Whether the same ticket and input always give the same bytes. */
  readonly repeats: Engine['repeatable'];
  /** Whether the worker measures the digest of the weights, or the operator only declares it. */
  readonly measuresWeights: boolean;
  /** What it takes beyond text; a job that asks for more is refused at admission. */
  readonly features: readonly Feature[];
  /** Jobs that one worker runs at once. */
  readonly parallel: number;
  /** How claimed tokens of it can be replayed; undefined where they cannot. */
  readonly replay: ReplayCapability | undefined;
}

export interface ReplayCapability {
  /**
   * What its margins are: differences of logits, or how surprising a token is where the sampler is not known.
   */
  readonly measure: 'margin' | 'surprise';
  readonly maxTemperature: number;
}

/** A setting under which honest workers answer, for calibration. */
interface Condition<Of> {
  readonly words: string;
  /** How many of 24 answers are made under it. */
  readonly parts: number;
  readonly model: Of;
}

/** A model that the operator offers, as its engine has read the catalog's entry. */
export interface EngineModel extends Entry {
  readonly gpuMemoryMiB: number | undefined;
  readonly capabilities: Capabilities;
  /**
   * Whether it computes in the process that loads it, and not on a server: such an engine runs in a child, so
   * that whoever loaded it goes on hearing of cancels, and outlives what ends the engine.
   */
  readonly computesHere: boolean;
  /** What is wrong with the entry although each of its fields is right; undefined where nothing is. */
  readonly problem: string | undefined;
  /** Throws CodedError or EngineError. Others call `loadEngine`, which proves the engine too. */
  load(): Promise<Engine>;
  /** The model as an attestor loads it: on a server of its own, where there is one. */
  reference(): EngineModel;
  /** The model with its files where `at` finds them. */
  located(at: (path: string) => string): EngineModel;
  /** The settings under which honest workers may answer. */
  conditions(): readonly Condition<EngineModel>[];
}

/**
 * One engine: how the catalog names its models, what they can do, and how one is loaded. One file holds one
 * engine.
 */
interface KindOf<Of extends Entry> {
  readonly name: string;
  readonly schema: z.ZodType<Of>;
  readonly computesHere: boolean;
  capabilities(entry: Of): Capabilities;
  load(entry: Of): Promise<Engine>;
  problem?(entry: Of): string | undefined;
  reference?(entry: Of): Of;
  located?(entry: Of, at: (path: string) => string): Of;
  conditions?(entry: Of): readonly Condition<Of>[];
}

/** An engine as the list holds it. `read` takes a catalog's entry. */
export interface EngineKind {
  readonly name: string;
  readonly read: z.ZodType<EngineModel>;
}

export function defineEngine<Of extends Entry>(kind: KindOf<Of>): EngineKind {
  return { name: kind.name, read: kind.schema.transform((entry) => modelOf(kind, entry)) };
}

function modelOf<Of extends Entry>(kind: KindOf<Of>, entry: Of): EngineModel {
  const { name, pool, tasks, sha256, engine, hint, gpuMemoryMiB } = entry;
  const of = (other: Of) => modelOf(kind, other);
  return {
    name,
    pool,
    tasks,
    sha256,
    engine,
    hint,
    gpuMemoryMiB,
    capabilities: kind.capabilities(entry),
    computesHere: kind.computesHere,
    problem: kind.problem?.(entry),
    load: () => kind.load(entry),
    reference: () => of(kind.reference?.(entry) ?? entry),
    located: (at) => of(kind.located?.(entry, at) ?? entry),
    conditions: () =>
      kind.conditions?.(entry).map(({ words, parts, model }) => ({ words, parts, model: of(model) })) ?? [
        { words: 'the servers as they are', parts: 24, model: of(entry) },
      ],
  };
}
