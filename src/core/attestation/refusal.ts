/** Why a worker's signature does not count at a time, by the list of workers. */
export type WorkerRefusal = 'WORKER_SUSPENDED' | 'WORKER_REVOKED' | 'WORKER_KEY_EXPIRED';
