/** What clients, receivers of webhooks and workers saw, in the order in which they saw it. */
export type Seen =
  /** A job was accepted under this idempotency key, to be tried so often at most. */
  | { readonly kind: 'accepted'; readonly key: string; readonly job: string; readonly attempts: number }
  /** The state of a job, as an answer told it. */
  | { readonly kind: 'read'; readonly job: string; readonly state: string; readonly isFinal: boolean }
  /** The caller asked to stop it, and was told that it stops. */
  | { readonly kind: 'cancelled'; readonly job: string }
  /** A message of a webhook; its receiver has taken it, or refused it for now. */
  | {
      readonly kind: 'told';
      readonly message: string;
      readonly job: string;
      readonly state: string;
      readonly isTaken: boolean;
    }
  /** A worker was given the job, and gave it up: by its answer, by a release, or by its lease. */
  | { readonly kind: 'held' | 'left'; readonly job: string; readonly worker: number }
  /** What a worker was answered that committed after its epoch was closed. */
  | { readonly kind: 'late'; readonly job: string; readonly reply: string };

/** What stands at the end, after the faults have stopped and everything had time to end. */
export interface Settled {
  /** Every job that the service lists. */
  readonly jobs: readonly {
    readonly job: string;
    readonly state: string;
    readonly isFinal: boolean;
    /** Whether its receipt verifies with the output that is served. */
    readonly hasReceipt: boolean;
    /** How many of its attempts count. */
    readonly attempts: number;
    /** Whether it was answered after its deadline. */
    readonly isLate: boolean;
  }[];
  /** How many confirmations stand in the log. */
  readonly places: number;
  /** Whether somebody listened for the end of every job. */
  readonly isTold: boolean;
  /** What does not agree in the log and in the books, a sentence each. */
  readonly problems: readonly string[];
}

/** Every key that was ever sent, answered or not. */
export type Sent = ReadonlySet<string>;

/**
 * What must hold whatever dies and when, of a history and its end. Returns a sentence for each thing that
 * does not, so that an empty list is a run without a fault of ours.
 */
export function violations(sent: Sent, history: readonly Seen[], settled: Settled): string[] {
  const { jobs, places } = settled;
  return [
    ...keysOf(history, sent),
    ...lost(history, jobs),
    ...unexpected(sent, jobs),
    ...changed(history, jobs),
    ...receipts(jobs),
    ...doubled(jobs, places),
    ...attempts(history, jobs),
    ...stopped(history, jobs),
    ...told(history, settled),
    ...holders(history),
    ...settled.problems,
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

/** What was accepted is there; it has ended, as has what came of a request whose answer was lost. */
function lost(history: readonly Seen[], jobs: Settled['jobs']): string[] {
  const known = new Map(jobs.map((one) => [one.job, one]));
  const accepted = new Set(history.flatMap((seen) => (seen.kind === 'accepted' ? [seen.job] : [])));
  const gone = [...accepted].filter((job) => !known.has(job));
  const waiting = jobs.filter(({ isFinal }) => !isFinal);
  return [
    ...gone.map((job) => `${job} was accepted and is lost`),
    ...waiting.map(({ job, state }) =>
      accepted.has(job)
        ? `${job} was accepted and is still ${state}`
        : `${job} was never accepted and is still ${state}`,
    ),
  ];
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

/** Done, exactly where a receipt holds; and never answered after its deadline. */
function receipts(jobs: Settled['jobs']): string[] {
  return jobs.flatMap(({ job, state, hasReceipt, isLate }) => [
    ...((state === 'done') === hasReceipt ? [] : [`${job} is ${state} and has ${hasReceipt ? 'a' : 'no'} receipt`]),
    ...(isLate ? [`${job} was answered after its deadline`] : []),
  ]);
}

/** One place in the log for each job that is done, and none for another. */
function doubled(jobs: Settled['jobs'], places: number): string[] {
  const done = jobs.filter(({ state }) => state === 'done').length;
  return places === done ? [] : [`${places} confirmations stand in the log for ${done} jobs that are done`];
}

/** No job is tried more often than its caller allowed. */
function attempts(history: readonly Seen[], jobs: Settled['jobs']): string[] {
  const allowed = new Map(history.flatMap((seen) => (seen.kind === 'accepted' ? [[seen.job, seen.attempts]] : [])));
  return jobs.flatMap(({ job, attempts: made }) => {
    const most = allowed.get(job) ?? made;
    return made <= most ? [] : [`${job} was tried ${made} times, and may be ${most} times`];
  });
}

/** What was said to stop is not done. */
function stopped(history: readonly Seen[], jobs: Settled['jobs']): string[] {
  const cancelled = new Set(history.flatMap((seen) => (seen.kind === 'cancelled' ? [seen.job] : [])));
  return jobs.flatMap(({ job, state }) =>
    cancelled.has(job) && state === 'done' ? [`${job} was cancelled, and is done`] : [],
  );
}

/** Who listens is told the end of each job, the true one, as one message however often it is sent. */
function told(history: readonly Seen[], { isTold, jobs }: Settled): string[] {
  if (!isTold) return [];
  const messages = history.filter((seen) => seen.kind === 'told');
  return jobs.flatMap(({ job, state, isFinal }) => {
    if (!isFinal) return [];
    const own = messages.filter((one) => one.job === job);
    const untrue = own.find((one) => one.state !== state);
    const ids = new Set(own.map(({ message }) => message)).size;
    return [
      ...(own.every(({ isTaken }) => !isTaken) ? [`nobody was told that ${job} is ${state}`] : []),
      ...(untrue === undefined ? [] : [`${job} is ${state}, and was told to be ${untrue.state}`]),
      ...(ids > 1 ? [`the end of ${job} was told as ${ids} messages`] : []),
    ];
  });
}

/** One worker at a time has a job, and whose epoch is closed commits nothing. */
function holders(history: readonly Seen[]): string[] {
  const holder = new Map<string, number>();
  return history.flatMap((seen) => {
    if (seen.kind === 'late' && seen.reply === 'ok') return [`${seen.job} took a commit of an epoch that was closed`];
    if (seen.kind === 'left' && holder.get(seen.job) === seen.worker) holder.delete(seen.job);
    if (seen.kind !== 'held') return [];
    const other = holder.get(seen.job);
    holder.set(seen.job, seen.worker);
    return other === undefined ? [] : [`${seen.job} was given to worker ${seen.worker} while worker ${other} had it`];
  });
}
