import { announcedModel } from '../../catalog/announced-models.ts';
import type { Announcement } from '../../catalog/announcement.ts';
import type { Catalog } from '../../catalog/catalog.ts';
import type { Equipment } from './equipment.ts';
import type { Method } from './method.ts';
import { METHODS, servedMethods } from './methods.ts';

/**
 * The models for which an attestor has more than the methods that all attestors serve, as it announces them.
 * There can be methods of models that it has no copy of.
 */
export function servedModels(
  catalog: Catalog,
  equipment: Equipment,
  list: readonly Method[] = METHODS,
): Announcement['models'] {
  return catalog.all().flatMap(({ name, sha256 }) => {
    const methods = servedMethods(equipment, { name, sha256 }, list);
    const engine = equipment.engineOf({ name, sha256 });
    if (engine !== undefined) return [{ ...announcedModel(engine.model, engine.identity), methods }];
    if (methods.length === 0) return [];
    return [{ name, sha256, engine: 'none', engineVersion: '', engineSha256: '', methods }];
  });
}
