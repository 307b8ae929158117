import type { EngineModel } from '../engines/engine-kind.ts';
import type { Engine, EngineIdentity } from '../engines/engine.ts';
import type { Announcement } from './announcement.ts';

type Announced = Announcement['models'][number];

/** What a worker serves: models that are loaded, that can be, and what a load takes where they take turns. */
interface Served {
  all(): readonly Engine[];
  resting(): readonly { readonly model: EngineModel; readonly identity: EngineIdentity | undefined }[];
  turnTakers(): readonly { readonly name: string; readonly coldMs: number }[];
}

/** The model of an engine, as it is announced; its identity is not known before its first load. */
export function announcedModel(
  { name, sha256 }: Pick<EngineModel, 'name' | 'sha256'>,
  { name: engine, version, sha256: engineSha256 }: EngineIdentity,
): Announced {
  return { name, sha256, engine, engineVersion: version, engineSha256 };
}

/** All models that a worker serves: those that are loaded, and those that rest until their turn. */
export function announcedModels(engines: Served, slotsOf: (model: string) => number): Announced[] {
  const coldMsOf = new Map(engines.turnTakers().map(({ name, coldMs }) => [name, Math.round(coldMs)]));
  const announced = (loaded: boolean, model: Announced): Announced => {
    const coldMs = coldMsOf.get(model.name);
    return { ...model, slots: slotsOf(model.name), ...(coldMs === undefined ? {} : { loaded, coldMs }) };
  };
  return [
    ...engines.all().map(({ model, identity }) => announced(true, announcedModel(model, identity))),
    ...engines
      .resting()
      .map(({ model, identity }) => announced(false, announcedModel(model, identity ?? unknownOf(model)))),
  ];
}

const unknownOf = ({ engine }: EngineModel): EngineIdentity => ({ name: engine, version: '', sha256: '' });
