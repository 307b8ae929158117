import type { Property } from '../../../proof/receipts/statements.ts';
import { binding } from './binding.ts';
import type { Equipment, ModelName } from './equipment.ts';
import type { Method } from './method.ts';
import { quorum } from './quorum.ts';
import { recompute } from './recompute.ts';
import { tee } from './tee.ts';
import { tokens } from './tokens.ts';
import { usage } from './usage.ts';

/**
 * All methods of this version, in the order in which a verdict names what they found. In a stage, the first
 * is checked first: `tokens` is cheaper than `recompute`, and what it refutes need not be computed again.
 */
export const METHODS: readonly Method<Property>[] = [binding, tokens, recompute, usage, quorum, tee];

/**
 * The methods that an attestor with this equipment serves for a model, of those that not every attestor
 * serves.
 */
export function servedMethods(equipment: Equipment, model: ModelName, methods: readonly Method[] = METHODS): string[] {
  return methods.filter((method) => method.offeredBy?.(equipment, model).isOffered === true).map(({ name }) => name);
}
