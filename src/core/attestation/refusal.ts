/** Why a worker's signature does not count at a time, by the list of workers. */
export type WorkerRefusal = 'WORKER_SUSPENDED' | 'WORKER_REVOKED' | 'WORKER_KEY_EXPIRED';

/** Why a worker may not work in a pool now. */
export type Bar = WorkerRefusal | 'WORKER_UNKNOWN' | 'WORKER_QUARANTINED' | 'WORKER_NOT_OF_POOL';
