/**
 * Every Redis key, as a function. The keys of one shard share a hash tag, so that a script can touch them all
 * in a Redis Cluster. The first word of a key decides which role may write it; `acl.ts` has the rules:
 *
 *   ticket, cancels, idem, jobs, apikey, file, batch   the API and the courier
 *   claims, evidence                        workers, each field once (HSETNX), never again
 *   lease, chunks, worker, wake:w           workers
 *   attest                                  workers, append only
 *   ruling, ended, wake:a, attestor, log    the attestor
 *   open                                    the API adds, the attestor moves and removes
 *   fair                                    API and attestor, when they add to a queue
 */
export class RedisKeys {
  readonly prefix: string;

  constructor(shard: string) {
    this.prefix = `{${shard}}:`;
  }

  /** Hash: the signed ticket, the small input, and the facts of admission. */
  ticket(id: string): string {
    return `${this.prefix}ticket:${id}`;
  }

  /** Hash: `e<epoch>` who claimed it, `c<epoch>` which evidence was committed. */
  claims(id: string): string {
    return `${this.prefix}claims:${id}`;
  }

  /** Hash: signed evidence and releases by epoch and digest. */
  evidence(id: string): string {
    return `${this.prefix}evidence:${id}`;
  }

  /** String: `<epoch> <worker> <token>` of the claim that runs; it expires with the lease. */
  lease(id: string): string {
    return `${this.prefix}lease:${id}`;
  }

  /** Hash: `x<epoch>` why an epoch was closed; `state` and the verdict once the job is final. */
  ruling(id: string): string {
    return `${this.prefix}ruling:${id}`;
  }

  /** Stream: provisional output. */
  chunks(id: string): string {
    return `${this.prefix}chunks:${id}`;
  }

  /** Sorted set: open jobs by the time (ms) at which the sweep looks at them next. */
  get open(): string {
    return `${this.prefix}open`;
  }

  /** Stream from workers to the attestor: evidence and releases. */
  get attest(): string {
    return `${this.prefix}attest`;
  }

  /** Stream from the API to attestor and workers: jobs whose cancellation was asked for. */
  get cancels(): string {
    return `${this.prefix}cancels`;
  }

  /** Streams that tell the API which jobs to look at again. */
  get workerWake(): string {
    return `${this.prefix}wake:w`;
  }

  get attestorWake(): string {
    return `${this.prefix}wake:a`;
  }

  /** String: the job and the body digest of an idempotency key. */
  idempotency(tenant: string, keyDigest: string): string {
    return `${this.prefix}idem:${tenant}:${keyDigest}`;
  }

  /** Sorted set: a tenant's kept jobs by creation time. */
  jobsOf(tenant: string): string {
    return `${this.prefix}jobs:${tenant}`;
  }

  /** Sorted set: a tenant's kept jobs of one model, by creation time. */
  jobsOfModel(tenant: string, model: string): string {
    return `${this.prefix}jobs:${tenant}:${model}`;
  }

  /** Sorted set: a tenant's jobs in one final state, by creation time. */
  endedOf(tenant: string, state: string): string {
    return `${this.prefix}ended:${tenant}:${state}`;
  }

  /** Sorted set: all kept finished jobs by the time they ended. */
  get ended(): string {
    return `${this.prefix}ended`;
  }

  /** String: the announcement of a worker. */
  worker(id: string): string {
    return `${this.prefix}worker:${id}`;
  }

  /** Sorted set: announced workers. */
  get workers(): string {
    return `${this.prefix}worker`;
  }

  /** String: the announcement of an attestor. */
  attestor(id: string): string {
    return `${this.prefix}attestor:${id}`;
  }

  /** Sorted set: announced attestors. */
  get attestors(): string {
    return `${this.prefix}attestor`;
  }

  apiKey(keyId: string): string {
    return `${this.prefix}apikey:${keyId}`;
  }

  get apiKeys(): string {
    return `${this.prefix}apikey`;
  }

  tenant(name: string): string {
    return `${this.prefix}tenant:${name}`;
  }

  /** Set: names of tenants. */
  get tenants(): string {
    return `${this.prefix}tenant`;
  }

  /** String: when a rate limit is fully available again, ms. */
  limit(whose: 'tenant' | 'key', id: string, unit: string): string {
    return `${this.prefix}limit:${whose}:${id}:${unit}`;
  }

  /** Stream: changes of tenants and keys with their authors; append only. */
  get audit(): string {
    return `${this.prefix}audit`;
  }

  /** Hash: a tenant's spent amount and the amount held for its open jobs, in total and by key. */
  account(tenant: string): string {
    return `${this.prefix}account:${tenant}`;
  }

  /** Hash: entries of a tenant's ledger in a month, `job:kind`; each written once. */
  ledger(tenant: string, month: string): string {
    return `${this.prefix}ledger:${tenant}:${month}`;
  }

  /** Hash: what a tenant used on a day, by `key model what`. */
  usage(tenant: string, day: string): string {
    return `${this.prefix}usage:${tenant}:${day}`;
  }

  /** Hash: `cursor`, the score in `ended` of the last job end that the courier has entered. */
  get jobEnds(): string {
    return `${this.prefix}jobends`;
  }

  /** String: the courier that enters job ends now. */
  get jobEndsLease(): string {
    return `${this.prefix}jobends:lease`;
  }

  /** Hash: the recent duration of a job of each model, ms. */
  get recentDuration(): string {
    return `${this.prefix}duration`;
  }

  /** Hash: tenants whose events have listeners, and until when (ms). */
  get listeners(): string {
    return `${this.prefix}listeners`;
  }

  /** Hash: the rank of the last event that was published, for each open job. */
  get eventCursor(): string {
    return `${this.prefix}eventcursor`;
  }

  /** Stream: the events of a tenant. */
  feed(tenant: string): string {
    return `${this.prefix}feed:${tenant}`;
  }

  /** Hash: a tenant's webhook endpoints. */
  webhooks(tenant: string): string {
    return `${this.prefix}webhooks:${tenant}`;
  }

  /** Hash: one message for one endpoint. */
  webhookMessage(id: string): string {
    return `${this.prefix}delivery:${id}`;
  }

  /** Sorted set: messages by the time (ms) of their next attempt. */
  get webhookMessages(): string {
    return `${this.prefix}deliveries`;
  }

  /** Sorted set: messages of an endpoint by creation time. */
  webhookMessagesOf(tenant: string, endpoint: string): string {
    return `${this.prefix}deliveries:${tenant}:${endpoint}`;
  }

  /** Hash: the payment of a job that has a payment of its own. */
  payment(job: string): string {
    return `${this.prefix}payment:${job}`;
  }

  /** Sorted set: payments to settle, by the time (ms) of the next attempt. */
  get payments(): string {
    return `${this.prefix}payments`;
  }

  /** Stream from the API to the courier: accepted jobs of tenants with listeners. */
  get admittedWake(): string {
    return `${this.prefix}wake:p`;
  }

  /** String: the hardware evidence that a worker handed in. */
  hardware(worker: string): string {
    return `${this.prefix}worker:${worker}:hardware`;
  }

  /** Sorted set: challenges for hardware evidence by the time (ms) at which an attestor made them. */
  get challenges(): string {
    return `${this.prefix}challenge`;
  }

  /** Sorted set: the highest serial of the list of workers that was in force. */
  get registry(): string {
    return `${this.prefix}registry`;
  }

  /** Hash: `worker model` to the score of the sequential test. */
  get suspicion(): string {
    return `${this.prefix}suspicion`;
  }

  /** Hash: secrets of the draws of past days, by day. */
  get logDraws(): string {
    return `${this.prefix}log:draws`;
  }

  /** Set: workers in quarantine after the sequential test. */
  get quarantined(): string {
    return `${this.prefix}quarantined`;
  }

  /** Hash: size and text of the checkpoint of the log that is published. */
  get log(): string {
    return `${this.prefix}log`;
  }

  /** Hash: logged documents other than verdicts, `kind sha256` to `index salt keyid`. */
  get logDocuments(): string {
    return `${this.prefix}log:documents`;
  }

  /** List: entries of the log after the last whole tile of the published checkpoint, in their order. */
  get logTail(): string {
    return `${this.prefix}log:tail`;
  }

  /** String: the checkpoint of this size, as long as kept receipts need it. */
  logAt(size: number | string): string {
    return `${this.prefix}log:at:${size}`;
  }

  /** Hash: an uploaded file or the results of a batch. */
  file(id: string): string {
    return `${this.prefix}file:${id}`;
  }

  /** Sorted set: a tenant's files by creation time. */
  filesOf(tenant: string): string {
    return `${this.prefix}files:${tenant}`;
  }

  /** Sorted set: all files by the time (ms) at which they are removed. */
  get files(): string {
    return `${this.prefix}files`;
  }

  /** Hash: a batch. */
  batch(id: string): string {
    return `${this.prefix}batch:${id}`;
  }

  /** Hash: the results of each part of a batch, written once. */
  batchParts(id: string): string {
    return `${this.prefix}batch:${id}:parts`;
  }

  /** String: the courier that works on a batch now. */
  batchLease(id: string): string {
    return `${this.prefix}batch:${id}:lease`;
  }

  /** Sorted set: a tenant's batches by creation time. */
  batchesOf(tenant: string): string {
    return `${this.prefix}batches:${tenant}`;
  }

  /** Sorted set: batches that have not ended, by creation time. */
  get batches(): string {
    return `${this.prefix}batches`;
  }

  /** Hash: the finish tag of each tenant in a queue; see start-tags.lua. */
  fairShares(queue: string): string {
    return `${this.prefix}fair:${queue}`;
  }

  /** Prefix of BullMQ's keys for the pools' queues. */
  get poolQueues(): string {
    return `${this.prefix}bull`;
  }

  /** Prefix of BullMQ's keys for the attestor's own queue. */
  get attestorQueue(): string {
    return `${this.prefix}abull`;
  }
}

/** The BullMQ queue of a model in a pool. Neither name holds a dot or a colon. */
export function queueName(pool: string, model: string): string {
  return `${pool}.${model}`;
}
