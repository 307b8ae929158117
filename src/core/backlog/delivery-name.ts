/** The BullMQ id of the delivery that follows an epoch: the job's own id at first. */
export function deliveryName(id: string, afterEpoch: number): string {
  return afterEpoch === 0 ? id : `${id}-${afterEpoch}`;
}
