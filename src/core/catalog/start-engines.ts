import { ChildEngines, type ChildOptions } from '../engines/child-engines.ts';
import { ChildPerModel } from '../engines/child-per-model.ts';
import { EngineChildren } from '../engines/engine-children.ts';
import type { EngineModel } from '../engines/engine-kind.ts';
import type { Logger } from '../../ground/logging/logger.ts';

/** What the child gets of this environment, where it is set: what loading a model needs, and no secret. */
const INHERITED = [
  'PATH',
  'HOME',
  'LD_LIBRARY_PATH',
  'TMPDIR',
  'CUDA_VISIBLE_DEVICES',
  'HIP_VISIBLE_DEVICES',
  'ROCR_VISIBLE_DEVICES',
  'GGML_VK_VISIBLE_DEVICES',
  'COUNTERSIGN_GPU_BUILD',
] as const;

interface EngineUse {
  /** The catalog's file, which names the models. */
  readonly catalog: string;
  /** Whether the models are loaded as an attestor loads them. */
  readonly areReferences: boolean;
  /** After its signal a call has this long to end, ms; then the child is killed. */
  readonly stopMs: number;
  /** Whether pieces of answers are wanted. */
  readonly streams: boolean;
}

/**
 * The engines of these models, those of each kind in a child process without keys, loaded. Throws the
 * CodedError of a model that cannot be loaded.
 */
export function startEngines(models: readonly EngineModel[], use: EngineUse, logger: Logger): Promise<EngineChildren> {
  return EngineChildren.start(models, (group) => ChildEngines.start(childOf(group, use, logger)));
}

/** A child process for each of these models, none of them started yet. */
export function enginesApart(models: readonly EngineModel[], use: EngineUse, logger: Logger): ChildPerModel {
  return new ChildPerModel(
    new Map(models.map((model) => [model.name, new ChildEngines(childOf([model], use, logger))] as const)),
  );
}

function childOf(models: readonly EngineModel[], use: EngineUse, logger: Logger): ChildOptions {
  const inherited = INHERITED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    program: new URL('./engine-process.js', import.meta.url),
    env: {
      ...Object.fromEntries(inherited),
      COUNTERSIGN_CATALOG: use.catalog,
      COUNTERSIGN_ENGINE_MODELS: models.map(({ name }) => name).join(','),
      COUNTERSIGN_ENGINE_REFERENCES: String(use.areReferences),
    },
    models,
    stopMs: use.stopMs,
    streams: use.streams,
    logger,
  };
}
