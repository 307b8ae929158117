import type { Engine } from '../engines/engine.ts';
import type { Announcement } from './announcement.ts';

/** The model of an engine, as it is announced. */
export function announcedModel({ model, identity }: Engine): Announcement['models'][number] {
  return {
    name: model.name,
    sha256: model.sha256,
    engine: identity.name,
    engineVersion: identity.version,
    engineSha256: identity.sha256,
  };
}
