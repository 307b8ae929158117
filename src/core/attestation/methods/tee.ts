import type { Property } from '../../../proof/receipts/statements.ts';
import { OFFERED, type Method } from './method.ts';

/**
 * The method `tee`: the worker's machine has proven itself by hardware evidence. Machines are judged beside
 * the path of jobs, so that this only looks up what was found. A confirmation names it where it holds,
 * whether or not it was promised. It proves where a key lives; it does not prove that an answer is right.
 */
export const tee: Method<Property> = {
  name: 'tee',
  stage: 'first',

  offeredBy({ hardware }, model) {
    if (hardware === undefined) return { isOffered: false, why: 'it has no policy for hardware' };
    return hardware.serves(model)
      ? OFFERED
      : { isOffered: false, why: 'no machine that runs the model has proven itself' };
  },

  async unavailable({ model, policy }, heard) {
    if (policy.tee !== true || (await heard.isServed('tee', model))) return undefined;
    return `No machine that runs ${model.name} has proven itself to an attestor. Ask without attestation.tee, or give workers a way to get evidence and attestors a policy.`;
  },

  isDrawn: () => true,

  check({ ticket, worker, parts }) {
    const { policy, model } = ticket.predicate;
    const hardware = parts.equipment.hardware?.of(worker, model);
    if (hardware !== undefined) return Promise.resolve({ properties: ['HARDWARE_ATTESTED'], grounds: { hardware } });
    return Promise.resolve(
      policy.tee === true ? { refusals: ['HARDWARE_NOT_ATTESTED'] } : { notChecked: ['HARDWARE_NOT_ATTESTED'] },
    );
  },
};
