import type { Announcement } from '../catalog/announcement.ts';
import type { Engine } from './engine.ts';

/** The models of these engines, as they are announced. */
export function announcedModels(
  engines: readonly Engine[],
  methodsOf?: (engine: Engine) => string[],
): Announcement['models'] {
  return engines.map((engine) => ({
    name: engine.model.name,
    sha256: engine.model.sha256,
    engine: engine.identity.name,
    engineVersion: engine.identity.version,
    engineSha256: engine.identity.sha256,
    ...(methodsOf === undefined ? {} : { methods: methodsOf(engine) }),
  }));
}
