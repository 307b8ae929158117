import { FairQueues, type DeliveryOptions } from '../../ground/bull/fair-queues.ts';

/** The attestor's own queue; workers cannot touch it. */
export const RECOMPUTE_QUEUE = 'attestation';

/** A recomputation that failed is tried again; after that, the case is put aside. */
export const RECOMPUTE_DELIVERY: DeliveryOptions = {
  removeOnComplete: true,
  removeOnFail: true,
  attempts: 3,
  backoff: { type: 'fixed', delay: 1_000 },
};

/** What that queue carries: which evidence is to be computed again. */
export interface Recomputation {
  readonly id: string;
  readonly epoch: number;
  readonly field: string;
}

export class RecomputeQueue extends FairQueues<Recomputation> {}
