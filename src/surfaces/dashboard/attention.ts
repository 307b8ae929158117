/** What an operator should look at. `next` names the page of the dashboard that goes on from here. */
export interface Attention {
  readonly kind: string;
  /** What it is about: a worker, a pool, a model; empty where it is the installation. */
  readonly about: string;
  readonly level: 'stop' | 'look';
  readonly title: string;
  readonly detail: string;
  readonly next: { readonly label: string; readonly page: string };
}

/** What is known of an installation at one moment. Times are in ms. */
export interface Facts {
  readonly workers: readonly {
    readonly id: string;
    readonly pool: string;
    readonly state: 'consuming' | 'draining' | 'paused';
    readonly problem: string | null;
    readonly away: readonly string[];
  }[];
  readonly attestors: readonly { readonly id: string; readonly problem: string | null }[];
  readonly quarantined: readonly string[];
  readonly pools: readonly {
    readonly name: string;
    readonly state: 'open' | 'paused' | 'draining';
    readonly waiting: number;
  }[];
  readonly queues: readonly {
    readonly model: string;
    readonly pool: string;
    readonly waiting: number;
    readonly slots: number;
    readonly nextWaitedMs: number | null;
    readonly predictedMs: number | null;
  }[];
  readonly stuck: number;
  readonly attesting: number;
  readonly failingWebhooks: number;
  readonly isStorageFull: boolean;
  readonly diskProblem: string | null;
}

const MOST = 50;
/** The next job of a queue may wait this much longer than predicted before anybody has to look. */
const LATE_FACTOR = 2;
const LATE_MS = 10_000;

const plural = (count: number, one: string) => `${count.toLocaleString('en-US')} ${one}${count === 1 ? '' : 's'}`;
const PAGES = {
  workers: { label: 'See the workers', page: 'workers' },
  models: { label: 'See models and pools', page: 'models' },
  webhooks: { label: 'Open the webhooks', page: 'webhooks' },
  jobs: { label: 'See the jobs', page: 'stuck' },
} as const;

/** What to look at, the worst first. */
export function attentionOf(facts: Facts): Attention[] {
  const all = [
    ...ofInstallation(facts),
    ...ofPools(facts),
    ...ofQueues(facts),
    ...ofWorkers(facts),
    ...ofOthers(facts),
  ];
  return all.toSorted((a, b) => Number(a.level === 'look') - Number(b.level === 'look')).slice(0, MOST);
}

function ofInstallation({ attestors, attesting, isStorageFull, diskProblem }: Facts): Attention[] {
  const able = attestors.filter(({ problem }) => problem === null);
  const found: Attention[] = [];
  const installation = { about: '', level: 'stop' } as const;
  if (able.length === 0)
    found.push({
      ...installation,
      kind: 'no_attestor',
      title: attestors.length === 0 ? 'No attestor is there' : 'No attestor can confirm',
      detail: `Answers are written and none can be confirmed; ${plural(attesting, 'message')} of workers wait. ${
        attestors[0]?.problem == null ? 'Start one with countersign attestor.' : `It says: ${attestors[0].problem}.`
      }`,
      next: PAGES.workers,
    });
  if (isStorageFull)
    found.push({
      ...installation,
      kind: 'storage_full',
      title: 'The storage is nearly full',
      detail: 'New jobs are refused until there is room: give Redis more memory, or keep finished jobs for less long.',
      next: PAGES.models,
    });
  if (diskProblem !== null)
    found.push({
      ...installation,
      kind: 'disk',
      title: 'The disk of the blobs cannot take more',
      detail: `The disk says ${diskProblem}; large inputs are refused until it has room.`,
      next: PAGES.models,
    });
  return found;
}

const ofPools = ({ pools }: Facts): Attention[] =>
  pools.flatMap(({ name, state, waiting }) =>
    state === 'open'
      ? []
      : [
          {
            kind: `pool_${state}`,
            about: name,
            level: 'look' as const,
            title: state === 'paused' ? `The pool ${name} is paused` : `The pool ${name} takes no new jobs`,
            detail: `${plural(waiting, 'job')} ${waiting === 1 ? 'waits' : 'wait'} in it, until somebody resumes it.`,
            next: PAGES.models,
          },
        ],
  );

const ofQueues = ({ queues, pools }: Facts): Attention[] =>
  queues.flatMap(({ model, pool, waiting, slots, nextWaitedMs, predictedMs }): Attention[] => {
    const isOpen = pools.find(({ name }) => name === pool)?.state === 'open';
    if (slots === 0 && waiting > 0 && isOpen)
      return [
        {
          kind: 'no_worker',
          about: model,
          level: 'stop',
          title: `No worker serves ${model}`,
          detail: `${plural(waiting, 'job')} ${waiting === 1 ? 'waits' : 'wait'} for one in the pool ${pool}.`,
          next: PAGES.workers,
        },
      ];
    const isLate =
      nextWaitedMs !== null && predictedMs !== null && nextWaitedMs > LATE_FACTOR * predictedMs + LATE_MS && isOpen;
    return isLate
      ? [
          {
            kind: 'late',
            about: model,
            level: 'look',
            title: `${model} waits longer than said`,
            detail: `The next job has waited ${Math.round(nextWaitedMs / 1_000)} s; whoever comes now is told ${Math.round(predictedMs / 1_000)} s.`,
            next: PAGES.models,
          },
        ]
      : [];
  });

function ofWorkers({ workers, quarantined }: Facts): Attention[] {
  const aside = quarantined.map((id): Attention => ({
    kind: 'quarantined',
    about: id,
    level: 'look',
    title: 'A worker is in quarantine',
    detail: 'Its audits failed too often. It gets no jobs until you release it.',
    next: PAGES.workers,
  }));
  const held = workers.flatMap(({ id, state, problem, away }): Attention[] => {
    if (quarantined.includes(id)) return [];
    const about = { about: id, level: 'look', next: PAGES.workers } as const;
    if (state === 'paused' && problem !== null)
      return [{ ...about, kind: 'barred', title: 'A worker takes no jobs', detail: `The reason is ${problem}.` }];
    if (away.length > 0)
      return [
        {
          ...about,
          kind: 'away',
          title: 'A worker has lost an engine',
          detail: `It does not serve ${away.join(', ')} for now.`,
        },
      ];
    return [];
  });
  return [...aside, ...held];
}

function ofOthers({ stuck, failingWebhooks }: Facts): Attention[] {
  const found: Attention[] = [];
  if (stuck > 0)
    found.push({
      kind: 'stuck',
      about: '',
      level: 'look',
      title: `${plural(stuck, 'job')} cannot be judged`,
      detail: 'Their confirmation fails again and again, and is tried again until their deadline.',
      next: PAGES.jobs,
    });
  if (failingWebhooks > 0)
    found.push({
      kind: 'webhooks',
      about: '',
      level: 'look',
      title: `${plural(failingWebhooks, 'webhook endpoint')} ${failingWebhooks === 1 ? 'fails' : 'fail'}`,
      detail: 'Their messages are kept and tried again, later and later.',
      next: PAGES.webhooks,
    });
  return found;
}
