import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Overview, WorkerRow } from '../../src/roles/api/overview.schemas.ts';
import { Share } from '../chart.tsx';
import { bytes, exact, shortId, visibleLine } from '../format.ts';
import { firstLook, tick, workers } from '../live.ts';
import { Command, Empty, Facts, Head, Id, Name, Panel, State, Table, Time, useLoad } from '../parts.tsx';
import { ask, place, to } from '../route.ts';
import { markOf } from './overview.tsx';

/** So many cards are drawn at once; the others are found by the filter. */
const SHOWN = 120;

/** Whoever needs somebody first, then the busiest. */
function inOrder(rows: readonly WorkerRow[]): WorkerRow[] {
  const rank = ({ state, away }: WorkerRow) =>
    state === 'paused' ? 0 : away.length > 0 ? 1 : state === 'draining' ? 2 : 3;
  return rows.toSorted((a, b) => rank(a) - rank(b) || b.in_flight - a.in_flight || (a.id < b.id ? -1 : 1));
}

/** Who works here, how busy they are, and which of them to trust. */
export function WorkersPage(): JSX.Element {
  const first = useLoad(firstLook, [], 30_000);
  const text = place.value.query.get('find') ?? '';
  const [id] = place.value.parts.slice(1);
  const rows = inOrder(workers.value);
  const found = rows.filter((row) =>
    `${row.id} ${row.pool} ${row.state} ${row.problem ?? ''} ${row.models.join(' ')}`.includes(text),
  );
  if (id !== undefined) return <WorkerPage id={id} overview={first.value} />;
  const live = rows.filter(({ state }) => state === 'consuming').length;
  return (
    <>
      <Head title="Workers">
        {rows.length === 0
          ? 'No worker is heard of.'
          : `${exact(rows.length)} are heard of, ${exact(live)} of them take jobs. What a worker says of itself is its word alone; what it did is in its receipts.`}
      </Head>
      <div class="fields">
        <div class="field">
          <label for="find-worker">Find by id, pool, state or model</label>
          <input
            id="find-worker"
            type="search"
            value={text}
            onInput={(event) => ask({ find: event.currentTarget.value })}
          />
        </div>
      </div>
      {rows.length === 0 ? (
        <section class="panel" aria-label="No worker">
          <Empty icon="workers" title="No worker is there">
            <p>Jobs are accepted and wait. Start one, or invite one from another machine, as it stands below.</p>
          </Empty>
        </section>
      ) : found.length === 0 ? (
        <section class="panel" aria-label="No worker matches">
          <Empty icon="find" title="Nothing matches">
            <p>No worker that is heard of has this in its id, pool, state or models.</p>
          </Empty>
        </section>
      ) : (
        <ul class="cards">
          {found.slice(0, SHOWN).map((row) => (
            <Card key={row.id} row={row} />
          ))}
        </ul>
      )}
      {found.length > SHOWN ? (
        <p class="faint">
          {exact(SHOWN)} of {exact(found.length)} are shown, those first that need somebody. Type above to find others.
        </p>
      ) : null}
      <div class="grid lower">
        <Attestors />
        <Refuted overview={first.value} />
        <Enrol />
      </div>
    </>
  );
}

/** What of a GPU is told: busy, warm, free. */
function gpuLine({ busy_percent, celsius, free_bytes, uncorrected_errors }: WorkerRow['gpus'][number]): string {
  return [
    ...(uncorrected_errors ? [`${exact(uncorrected_errors)} memory errors`] : []),
    ...(busy_percent === null ? [] : [`${exact(busy_percent)} % busy`]),
    ...(celsius === null ? [] : [`${exact(celsius)} °C`]),
    ...(free_bytes === null ? [] : [`${bytes(free_bytes)} free`]),
  ].join(', ');
}

/** Its models; those that are not in its memory now say so. */
function modelWords({ models, resting }: WorkerRow): string {
  return models.map((name) => (resting.includes(name) ? `${name} (not loaded)` : name)).join(', ');
}

function Card({ row }: { readonly row: WorkerRow }): JSX.Element {
  const { mark, word } = markOf(row);
  return (
    <li class={row.state === 'paused' ? 'held' : ''}>
      <p>
        <Id id={row.id} href={to('workers', row.id)} />
        <State of={mark} word={visibleLine(word, 24)} />
      </p>
      <Share value={row.in_flight} of={row.slots} state="running" />
      <p>
        <Name text={modelWords(row) || 'no model'} />
        <span>
          {exact(row.in_flight)} of {exact(row.slots)} slots
        </span>
      </p>
      <p class="faint">
        <Name text={row.pool} />
        <span>{row.free_memory_bytes === null ? '' : `${bytes(row.free_memory_bytes)} free`}</span>
      </p>
      {row.gpus.map((gpu) => (
        <p key={gpu.place} class={gpu.uncorrected_errors ? 'failed' : 'faint'}>
          <Name text={`GPU ${gpu.place}: ${gpu.name}`} />
          <span>{gpuLine(gpu)}</span>
        </p>
      ))}
      {row.away.length === 0 ? null : (
        <p class="failed">
          <Name text={`engine away: ${row.away.join(', ')}`} />
        </p>
      )}
    </li>
  );
}

function Attestors(): JSX.Element {
  const attestors = tick.value?.attestors ?? [];
  return (
    <Panel title="Attestors" aside="they confirm what workers did" span={4} flush>
      {attestors.length === 0 ? (
        <Empty icon="shield" title="No attestor is there">
          <p>Nothing can be confirmed until one is started.</p>
        </Empty>
      ) : (
        <Table
          caption="Attestors"
          rows={attestors}
          keyOf={({ id }) => id}
          columns={[
            { name: 'Attestor', of: ({ id }) => <Id id={id} /> },
            {
              name: 'State',
              of: ({ problem }) =>
                problem === null ? (
                  <State of="done" word="confirms" />
                ) : (
                  <State of="failed" word={visibleLine(problem, 40)} />
                ),
            },
          ]}
        />
      )}
    </Panel>
  );
}

/** The attempts of each worker that were refuted, from the newest that are kept. */
function Refuted({ overview }: { readonly overview: Overview | undefined }): JSX.Element {
  const byWorker = new Map<string, { count: number; last: string; detail: string }>();
  for (const { worker, at, detail } of overview?.refutations ?? []) {
    const known = byWorker.get(worker);
    byWorker.set(worker, known === undefined ? { count: 1, last: at, detail } : { ...known, count: known.count + 1 });
  }
  const rows = [...byWorker].map(([worker, facts]) => ({ worker, ...facts })).toSorted((a, b) => b.count - a.count);
  return (
    <Panel title="Refuted lately, by worker" span={8} flush>
      {rows.length === 0 ? (
        <Empty icon="tick" title="No worker was refuted">
          <p>One refuted answer is no verdict on a worker: only a test over many puts it into quarantine.</p>
        </Empty>
      ) : (
        <Table
          caption="Workers with refuted attempts"
          rows={rows}
          keyOf={({ worker }) => worker}
          columns={[
            { name: 'Worker', of: ({ worker }) => <Id id={worker} href={to('workers', worker)} /> },
            { name: 'Refuted', number: true, of: ({ count }) => exact(count) },
            { name: 'The last reason', of: ({ detail }) => <Name text={detail} /> },
            { name: 'When', number: true, of: ({ last }) => <Time at={last} /> },
          ]}
        />
      )}
    </Panel>
  );
}

function Enrol(): JSX.Element {
  return (
    <Panel title="Enrol a worker" span={12}>
      <div class="stack">
        <p class="soft">
          Who may work stands on a list that is signed with a key which no server holds, so that neither this page nor a
          stolen session can let anybody in. On the machine that holds it:
        </p>
        <Command text="countersign workers invite --pool default --uses 1" />
        <p class="soft">gives a join token for the new machine. Then let in who asks with it:</p>
        <Command text="countersign workers admit" />
      </div>
    </Panel>
  );
}

/** One worker: its state, what was held against it, and what can be done about it. */
function WorkerPage({ id, overview }: { readonly id: string; readonly overview: Overview | undefined }): JSX.Element {
  const row = workers.value.find((one) => one.id === id);
  const refuted = (overview?.refutations ?? []).filter(({ worker }) => worker === id);
  const [why, setWhy] = useState('');
  const reason = JSON.stringify(why === '' ? 'the reason' : why.replace(/[^\x20-\x7e]/g, ' '));
  const { mark, word } = row === undefined ? ({ mark: 'silent', word: 'not heard of' } as const) : markOf(row);
  return (
    <>
      <p class="crumbs">
        <a href={to('workers')}>Workers</a> / {visibleLine(shortId(id), 40)}
      </p>
      <div class="head">
        <div>
          <h1 class="jobid">{visibleLine(id, 80)}</h1>
          <p>
            <span class={`badge st ${mark}`}>
              <State of={mark} word={visibleLine(word, 40)} />
            </span>
          </p>
        </div>
      </div>
      <div class="grid">
        <Panel title="What it says of itself" span={5}>
          {row === undefined ? (
            <p class="soft">Nothing was heard of it for seven seconds.</p>
          ) : (
            <Facts
              of={[
                ['Pool', <Name key="pool" text={row.pool} />],
                ['Models', <Name key="models" text={modelWords(row) || 'none'} />],
                ['Running', `${exact(row.in_flight)} of ${exact(row.slots)} slots`],
                ['Free memory', row.free_memory_bytes === null ? 'not told' : bytes(row.free_memory_bytes)],
                ...row.gpus.map((gpu): [string, string] => [`GPU ${gpu.place}`, `${gpu.name}: ${gpuLine(gpu)}`]),
                ['Started', <Name key="started" text={row.started_at} />],
                ['Paused because', row.problem === null ? '–' : <Name key="problem" text={row.problem} />],
              ]}
            />
          )}
        </Panel>
        <Panel title="What was refuted" span={7} flush>
          {refuted.length === 0 ? (
            <Empty icon="tick" title="Nothing that is kept">
              <p>None of the newest 50 refuted attempts is of this worker.</p>
            </Empty>
          ) : (
            <Table
              caption="Refuted attempts of this worker"
              rows={refuted}
              keyOf={({ job, at }) => `${job} ${at}`}
              columns={[
                { name: 'Why', of: ({ detail }) => <Name text={detail} /> },
                { name: 'Job', of: ({ job }) => <Id id={job} /> },
                { name: 'When', number: true, of: ({ at }) => <Time at={at} /> },
              ]}
            />
          )}
        </Panel>
        <Panel title="Suspend, resume, release" span={12}>
          <div class="stack">
            <p class="soft">
              The list of workers is signed with a key which no server holds. On the machine that holds it, within
              seconds of the new list the worker gets no more jobs, and what it holds goes to others:
            </p>
            <div class="field">
              <label for="why">The reason, which stands in the list</label>
              <input id="why" value={why} onInput={(event) => setWhy(event.currentTarget.value)} />
            </div>
            <Command text={`countersign workers suspend ${visibleLine(id, 80)} --why ${reason}`} />
            <Command text={`countersign workers resume ${visibleLine(id, 80)}`} />
            <Command text={`countersign workers release ${visibleLine(id, 80)}`} />
          </div>
        </Panel>
      </div>
    </>
  );
}
