/** What one client saw of one request, in the order in which it saw it. */
export type Seen =
  /** A job was accepted under this idempotency key. */
  | { readonly kind: 'accepted'; readonly key: string; readonly job: string }
  /** The state of a job, as an answer told it. */
  | { readonly kind: 'read'; readonly job: string; readonly state: string; readonly isFinal: boolean };

/** What stands at the end, after the faults have stopped and everything had time to end. */
export interface Settled {
  /** Every job that the service lists. */
  readonly jobs: readonly {
    readonly job: string;
    readonly state: string;
    readonly isFinal: boolean;
    /** Whether its receipt verifies with the output that is served. */
    readonly hasReceipt: boolean;
  }[];
  /** How many confirmations stand in the log. */
  readonly places: number;
}

/** Every key that was ever sent, answered or not. */
export type Sent = ReadonlySet<string>;

/**
 * What must hold whatever dies and when, of a history and its end. Returns a sentence for each thing that
 * does not, so that an empty list is a run without a fault of ours.
 */
export function violations(sent: Sent, history: readonly Seen[], { jobs, places }: Settled): string[] {
  return [
    ...keysOf(history, sent),
    ...lost(history, jobs),
    ...unexpected(sent, jobs),
    ...changed(history, jobs),
    ...receipts(jobs),
    ...doubled(jobs, places),
  ];
}

/** One key has one job, and one job one key: retries are free. */
function keysOf(history: readonly Seen[], sent: Sent): string[] {
  const [byKey, byJob] = [new Map<string, string>(), new Map<string, string>()];
  return history.flatMap((seen) => {
    if (seen.kind !== 'accepted') return [];
    const { key, job } = seen;
    const [other, otherKey] = [byKey.get(key) ?? job, byJob.get(job) ?? key];
    byKey.set(key, other);
    byJob.set(job, otherKey);
    return [
      ...(other === job ? [] : [`the key ${key} has two jobs, ${other} and ${job}`]),
      ...(otherKey === key ? [] : [`${job} has two keys, ${otherKey} and ${key}`]),
      ...(sent.has(key) ? [] : [`${job} was accepted under ${key}, which nobody sent`]),
    ];
  });
}

/** What was accepted is there and has ended. */
function lost(history: readonly Seen[], jobs: Settled['jobs']): string[] {
  const known = new Map(jobs.map((one) => [one.job, one]));
  const accepted = new Set(history.flatMap((seen) => (seen.kind === 'accepted' ? [seen.job] : [])));
  return [...accepted].flatMap((job) => {
    const end = known.get(job);
    if (end === undefined) return [`${job} was accepted and is lost`];
    return end.isFinal ? [] : [`${job} was accepted and is still ${end.state}`];
  });
}

/** There are no more jobs than keys were sent: a request whose answer was lost may have made one, not two. */
function unexpected(sent: Sent, jobs: Settled['jobs']): string[] {
  return jobs.length <= sent.size ? [] : [`${jobs.length} jobs came of ${sent.size} requests`];
}

/** Whoever has read a final state reads it for ever. */
function changed(history: readonly Seen[], jobs: Settled['jobs']): string[] {
  const ends = new Map<string, string>();
  const reads = history.filter((seen) => seen.kind === 'read');
  return [...reads, ...jobs].flatMap(({ job, state, isFinal }) => {
    const end = ends.get(job);
    if (isFinal && end === undefined) ends.set(job, state);
    return end === undefined || end === state ? [] : [`${job} was ${end}, and then ${state}`];
  });
}

/** Done, exactly where a receipt holds. */
function receipts(jobs: Settled['jobs']): string[] {
  return jobs.flatMap(({ job, state, hasReceipt }) =>
    (state === 'done') === hasReceipt ? [] : [`${job} is ${state} and has ${hasReceipt ? 'a' : 'no'} receipt`],
  );
}

/** One place in the log for each job that is done, and none for another. */
function doubled(jobs: Settled['jobs'], places: number): string[] {
  const done = jobs.filter(({ state }) => state === 'done').length;
  return places === done ? [] : [`${places} confirmations stand in the log for ${done} jobs that are done`];
}
