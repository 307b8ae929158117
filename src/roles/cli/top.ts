/** What the service says of itself at one moment. */
export interface Moment {
  /** In milliseconds. */
  readonly atMs: number;
  readonly ready: boolean;
  /** What keeps it from being ready, or that nothing does. */
  readonly detail: string;
  /** Metrics of the shard in Prometheus' text format. */
  readonly metrics: string;
  /** Entries of the log: one for each confirmed job, and few others. */
  readonly logSize: number;
}

/** A value of a metric with its labels. */
interface Sample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

/** The samples of a text in Prometheus' format; lines that are none are passed over. */
export function samplesOf(text: string): Sample[] {
  return text.split('\n').flatMap((line): Sample[] => {
    const [, name, labels = '', value] = /^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
    if (name === undefined || value === undefined || Number.isNaN(Number(value))) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(
      ([, label = '', text_ = '']): [string, string] => [
        label,
        text_.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char)),
      ],
    );
    return [{ name, labels: new Map(pairs), value: Number(value) }];
  });
}

/** The lines of one moment, with what changed since the one before where there was one. */
export function topLines(now: Moment, before: Moment | undefined): string[] {
  const samples = samplesOf(now.metrics);
  const one = (name: string) => samples.find((sample) => sample.name === `countersign_${name}`)?.value ?? 0;
  const state = now.ready ? 'working' : 'not ready';
  return [
    `${state}: ${now.detail}`,
    `workers ${one('consuming_workers')}   attestors ${one('consuming_attestors')}   open jobs ${one('open_jobs')}   to confirm ${one('attestation_backlog_entries')}   recomputing ${one('recompute_queue_jobs')}   stuck ${one('stuck_jobs')}`,
    `log ${now.logSize} entries${confirmedWords(now, before)}`,
    ...poolLines(samples),
  ];
}

function confirmedWords(now: Moment, before: Moment | undefined): string {
  if (before === undefined || now.atMs <= before.atMs) return '';
  const rate = (now.logSize - before.logSize) / ((now.atMs - before.atMs) / 1_000);
  return `   confirmed ${rate.toFixed(1)} a second`;
}

function poolLines(samples: readonly Sample[]): string[] {
  const states = new Map(
    samples.flatMap(({ name, labels, value }): [string, string][] =>
      name === 'countersign_pool_state' && value === 1 ? [[labels.get('pool') ?? '', labels.get('state') ?? '']] : [],
    ),
  );
  const waiting = samples.filter(({ name }) => name === 'countersign_queue_waiting_jobs');
  if (waiting.length === 0) return ['no pool has a model'];
  const loaded = samples.filter(({ name }) => name === 'countersign_model_loaded_workers');
  const loadedBy = (pool: string, model: string) =>
    loaded.find(({ labels }) => labels.get('pool') === pool && labels.get('model') === model)?.value;
  const rows = waiting
    .toSorted((a, b) => b.value - a.value)
    .map(({ labels, value }) => {
      const pool = labels.get('pool') ?? '';
      const model = labels.get('model') ?? '';
      return [pool, model, states.get(pool) ?? 'open', String(value), String(loadedBy(pool, model) ?? '-')] as const;
    });
  const head = ['POOL', 'MODEL', 'STATE', 'WAITING', 'LOADED BY'] as const;
  const width = (at: 0 | 1 | 2) => Math.max(...[head, ...rows].map((row) => row[at].length));
  return [head, ...rows].map(
    ([pool, model, state, count, by]) =>
      `${pool.padEnd(width(0))}  ${model.padEnd(width(1))}  ${state.padEnd(width(2))}  ${count.padStart(7)}${loaded.length === 0 ? '' : `  ${by.padStart(9)}`}`,
  );
}

/** The same on one line, where there is no terminal. */
export function topLine(now: Moment, before: Moment | undefined): string {
  const [, people = '', log = ''] = topLines(now, before);
  const waiting = samplesOf(now.metrics)
    .filter(({ name }) => name === 'countersign_queue_waiting_jobs')
    .reduce((sum, { value }) => sum + value, 0);
  return `${new Date(now.atMs).toISOString()}   ${now.ready ? 'ready' : 'not ready'}   waiting ${waiting}   ${people}   ${log}`;
}
