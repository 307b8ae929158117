import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { HistoryDocument, Overview, Tick, WorkerRow } from '../../src/roles/api/overview.schemas.ts';
import { ask, session } from '../api.ts';
import { Chart, Parts, Share, Spark } from '../chart.tsx';
import { count, duration, exact, jobs, rate } from '../format.ts';
import { Mark, type MarkName } from '../icons.tsx';
import { firstLook, now, tick, verdicts, workers } from '../live.ts';
import { Empty, Id, JobStateMark, Name, Panel, Problem, Table, Time, WORDS, useLoad } from '../parts.tsx';
import { to } from '../route.ts';
import { howSaid } from '../words.ts';

const SPANS = [
  ['hour', '1 hour', 'a minute a point'],
  ['day', '24 hours', '15 min a point'],
  ['week', '7 days', '2 h a point'],
] as const;
type Span = (typeof SPANS)[number][0];
const EVERY_MS: Readonly<Record<Span, number>> = { hour: 5_000, day: 15_000, week: 60_000 };

/** How the installation is, who waits and why, and which workers to trust. */
export function OverviewPage(): JSX.Element {
  const [span, setSpan] = useState<Span>('day');
  const first = useLoad(firstLook, [], 30_000);
  const history = useLoad(
    (signal) => ask<HistoryDocument>(`/v1/admin/history?span=${span}`, { signal }),
    [span],
    EVERY_MS[span],
  );
  const state = tick.value;
  if (state === undefined)
    return first.error === undefined ? (
      <p class="faint">Loading …</p>
    ) : (
      <Problem error={first.error} again={first.again} />
    );
  return (
    <>
      <Headline state={state} span={span} setSpan={setSpan} />
      {history.error === undefined ? null : <Problem error={history.error} again={history.again} />}
      <div class="grid">
        <Figures state={state} history={history.value} span={span} />
        <JobsPerSecond history={history.value} span={span} />
        <LookAtThese state={state} />
        <TimeToConfirmed history={history.value} />
        <Waiting state={state} />
        <WorkerGrid rows={workers.value} />
        <Verdicts state={state} />
        <Refutations overview={first.value} />
        <Refusals history={history.value} span={span} />
      </div>
    </>
  );
}

function Headline(props: {
  readonly state: Tick;
  readonly span: Span;
  readonly setSpan: (span: Span) => void;
}): JSX.Element {
  const { attention, per_second: rates, queues } = props.state;
  const stops = attention.filter(({ level }) => level === 'stop').length;
  const things = `${attention.length} thing${attention.length === 1 ? '' : 's'} to look at`;
  const longest = Math.max(0, ...queues.map(({ next_waited_ms: waited }) => waited ?? 0));
  return (
    <div class="head">
      <Mark of={stops > 0 ? 'rejected' : attention.length > 0 ? 'suspect' : 'done'} />
      <div>
        <h1>
          {stops > 0
            ? `Something stops the work, with ${things}`
            : attention.length > 0
              ? `Working, with ${things}`
              : 'Working normally'}
        </h1>
        <p>
          {rates['done'] === 0 || rates['done'] === undefined
            ? 'No job was confirmed in the last ten seconds.'
            : `${rate(rates['done'])} jobs a second are confirmed.`}{' '}
          {longest === 0 ? 'Nothing waits.' : `The job that comes next has waited ${duration(longest)}.`}
        </p>
      </div>
      <div class="actions segments" role="group" aria-label="Span of the history">
        {SPANS.map(([name, label]) => (
          <button key={name} type="button" aria-pressed={props.span === name} onClick={() => props.setSpan(name)}>
            {label}
          </button>
        ))}
      </div>
    </div>
  );
}

interface Histories {
  readonly history: HistoryDocument | undefined;
  readonly span: Span;
}

const spanWord = (span: Span) => SPANS.find(([name]) => name === span)?.[1] ?? '';
const sumOf = (history: HistoryDocument | undefined, name: string) =>
  (history?.points ?? []).reduce((sum, { counts }) => sum + (counts[name] ?? 0), 0);
const valuesOf = (history: HistoryDocument | undefined, name: string) =>
  (history?.points ?? []).map(({ counts }) => counts[name] ?? 0);

function Figure(props: {
  readonly title: string;
  readonly value: string;
  readonly unit?: string;
  readonly note: string;
  readonly children: JSX.Element;
}): JSX.Element {
  return (
    <section class="panel s3 figure">
      <h2>{props.title}</h2>
      <p class="big">
        {props.value}
        {props.unit === undefined ? null : <small> {props.unit}</small>}
      </p>
      <p class="soft small">{props.note}</p>
      {props.children}
    </section>
  );
}

function Figures({ state, history, span }: Histories & { readonly state: Tick }): JSX.Element {
  const waiting = state.queues.reduce((sum, queue) => sum + queue.waiting, 0);
  const running = state.queues.reduce((sum, queue) => sum + queue.running, 0);
  const slots = state.queues.reduce((sum, queue) => sum + queue.slots, 0);
  const p95 = history?.p95_ms ?? null;
  const [value = '–', unit] = p95 === null ? [] : duration(p95).split(/ (?=[a-z]+$)/);
  const refuted = sumOf(history, 'refuted');
  return (
    <>
      <Figure
        title="Confirmed"
        value={rate(state.per_second['done'] ?? 0)}
        unit="/s"
        note={`${count(sumOf(history, 'done'))} in ${spanWord(span)}`}
      >
        <Spark label="Confirmed, over the span" state="done" values={valuesOf(history, 'done')} />
      </Figure>
      <Figure title="Waiting" value={count(waiting)} note={`${exact(running)} run in ${exact(slots)} slots`}>
        <Share value={running} of={slots} state="running" />
      </Figure>
      <Figure
        title="Time to confirmed, p95"
        value={value}
        {...(unit === undefined ? {} : { unit })}
        note={history?.p50_ms == null ? 'nothing was confirmed yet' : `p50 ${duration(history.p50_ms)}`}
      >
        <Spark
          label="Time to confirmed, over the span"
          state="attesting"
          values={(history?.points ?? []).map(({ p95_ms: ms }) => ms ?? 0)}
        />
      </Figure>
      <Figure title="Refuted attempts" value={count(refuted)} note="none was given out as done">
        <Spark label="Refuted attempts, over the span" state="rejected" values={valuesOf(history, 'refuted')} />
      </Figure>
    </>
  );
}

function JobsPerSecond({ history, span }: Histories): JSX.Element {
  const seconds = (history?.slot_ms ?? 1_000) / 1_000;
  const perSecond = (name: string) => valuesOf(history, name).map((value) => value / seconds);
  return (
    <Panel title="Jobs per second" aside={SPANS.find(([name]) => name === span)?.[2]} span={8}>
      <Chart
        label={`Jobs confirmed and accepted per second, over ${spanWord(span)}`}
        at={(history?.points ?? []).map(({ at }) => at)}
        unit={(value) => (value === 0 ? '0 /s' : value < 10 ? String(Number(value.toPrecision(2))) : rate(value))}
        series={[
          { name: 'confirmed', state: 'done', kind: 'area', values: perSecond('done') },
          { name: 'accepted', state: 'queued', kind: 'dashes', values: perSecond('accepted') },
          {
            name: 'refuted attempts (not to scale)',
            state: 'rejected',
            kind: 'bars',
            values: valuesOf(history, 'refuted'),
          },
        ]}
      />
    </Panel>
  );
}

function LookAtThese({ state }: { readonly state: Tick }): JSX.Element {
  const { attention } = state;
  return (
    <Panel title="Look at these" aside={attention.length === 0 ? undefined : exact(attention.length)} span={4} flush>
      {attention.length === 0 ? (
        <Empty icon="tick" title="Nothing needs you">
          <p>Every pool is open, every worker that is heard of takes jobs, and attestors confirm.</p>
        </Empty>
      ) : (
        <ul class="rows attention" tabIndex={0} aria-label="What to look at">
          {attention.map(({ kind, about, level, title, detail, next }) => (
            <li key={`${kind} ${about}`}>
              <Mark of={level === 'stop' ? 'rejected' : 'suspect'} />
              <div>
                <h3>{title}</h3>
                <p>
                  {about === '' ? null : <Id id={about} />} {detail}{' '}
                  <a href={to(...next.page.split('/'))}>{next.label}</a>
                </p>
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function TimeToConfirmed({ history }: { readonly history: HistoryDocument | undefined }): JSX.Element {
  const phases = history?.phases ?? [];
  return (
    <Panel title="Time to confirmed" aside="mean, by model" span={5}>
      {phases.length === 0 ? (
        <Empty icon="jobs" title="No job was confirmed yet">
          <p>Send one from the playground: it shows here within a second.</p>
          <a class="btn" href={to('playground')}>
            Open the playground
          </a>
        </Empty>
      ) : (
        <>
          <ul class="bars">
            {phases.slice(0, 8).map(({ model, jobs: ended, wait_ms: wait, run_ms: run, confirm_ms: confirm }) => (
              <li key={model}>
                <p>
                  <b>
                    <Name text={model} />
                  </b>{' '}
                  <span class="faint">{jobs(ended)}</span>
                  <span class="end">{duration(wait + run + confirm)}</span>
                </p>
                <Parts
                  label={`waiting ${duration(wait)}, running ${duration(run)}, confirming ${duration(confirm)}`}
                  of={[
                    { name: 'waiting', state: 'queued', value: wait },
                    { name: 'running', state: 'running', value: run },
                    { name: 'confirming', state: 'attesting', value: confirm },
                  ]}
                />
              </li>
            ))}
          </ul>
          <p class="legend">
            <span class="queued">
              <i class="area" />
              waiting
            </span>
            <span class="running">
              <i class="area" />
              running
            </span>
            <span class="attesting">
              <i class="area" />
              confirming
            </span>
          </p>
        </>
      )}
    </Panel>
  );
}

function Waiting({ state }: { readonly state: Tick }): JSX.Element {
  return (
    <Panel title="Waiting, by pool and model" aside={<a href={to('jobs')}>All jobs</a>} span={7} flush>
      <Table
        caption="What waits, by pool and model"
        rows={state.queues.toSorted((a, b) => b.waiting - a.waiting)}
        keyOf={({ model }) => model}
        columns={[
          { name: 'Pool', of: ({ pool }) => <Name text={pool} /> },
          { name: 'Model', of: ({ model }) => <Name text={model} /> },
          { name: 'Waiting', number: true, of: ({ waiting }) => exact(waiting) },
          { name: 'Running', number: true, of: ({ running, slots }) => `${exact(running)} of ${exact(slots)}` },
          {
            name: 'Next has waited',
            number: true,
            of: ({ next_waited_ms: ms }) => (ms === null ? '–' : duration(ms)),
          },
          { name: 'Predicted', number: true, of: ({ predicted_ms: ms }) => (ms === null ? '–' : duration(ms)) },
        ]}
      />
    </Panel>
  );
}

/** How a worker is drawn, and what is said of it. */
export function markOf({ state, problem }: Pick<WorkerRow, 'state' | 'problem'>): { mark: MarkName; word: string } {
  if (state === 'draining') return { mark: 'draining', word: 'draining' };
  if (state === 'consuming') return { mark: 'running', word: 'live' };
  return { mark: 'paused', word: problem ?? 'paused' };
}

const COLUMNS = 32;

function WorkerGrid({ rows }: { readonly rows: readonly WorkerRow[] }): JSX.Element {
  const live = rows.filter(({ state }) => state === 'consuming').length;
  const columns = Math.min(COLUMNS, Math.max(16, rows.length));
  return (
    <Panel title="Workers" aside={<a href={to('workers')}>All {exact(rows.length)}</a>} span={7}>
      {rows.length === 0 ? (
        <Empty icon="workers" title="No worker is there">
          <p>Jobs are accepted and wait. Start one, or invite one from another machine.</p>
          <a class="btn" href={to('workers')}>
            How to enrol a worker
          </a>
        </Empty>
      ) : (
        <>
          <svg
            class="cells"
            viewBox={`0 0 ${columns * 18} ${Math.ceil(rows.length / columns) * 18}`}
            role="img"
            aria-label={`${exact(live)} of ${exact(rows.length)} workers are live`}
          >
            {rows.map((worker, at) => {
              const load = worker.slots === 0 ? 0 : Math.min(1, worker.in_flight / worker.slots);
              const { mark, word } = markOf(worker);
              return (
                <rect
                  key={worker.id}
                  class={`cell ${mark} load${Math.ceil(load * 4)}`}
                  x={(at % columns) * 18 + 1.5}
                  y={Math.floor(at / columns) * 18 + 1.5}
                  width="15"
                  height="15"
                  rx="3"
                >
                  <title>{`${worker.id}: ${word}, ${worker.in_flight} of ${worker.slots}`}</title>
                </rect>
              );
            })}
          </svg>
          <p class="legend">
            <span class="running">
              <i class="area" />
              {exact(live)} live, stronger where busier
            </span>
            {rows.length > live ? (
              <span class="rejected">
                <i class="hollow" />
                {exact(rows.length - live)} paused or draining
              </span>
            ) : null}
          </p>
        </>
      )}
    </Panel>
  );
}

function Verdicts({ state }: { readonly state: Tick }): JSX.Element {
  const rows = verdicts.value.slice(0, 7);
  const own = session.value?.tenant;
  return (
    <Panel title="Verdicts, as they come" aside={`${rate(state.per_second['done'] ?? 0)} /s, a sample`} span={5} flush>
      {rows.length === 0 ? (
        <Empty icon="shield" title="No job has ended yet">
          <p>Each end shows here as its verdict comes.</p>
        </Empty>
      ) : (
        <ul class="rows">
          {rows.map(({ job, tenant, model, state: ended, at, how, detail }) => (
            <li key={job}>
              <Mark of={ended} />
              <div>
                <h3>
                  <Name text={model} /> <span class="faint">{WORDS[ended].toLowerCase()}</span>
                </h3>
                <p>
                  {detail === '' ? howSaid(how) : <Name text={detail} />} ·{' '}
                  <Id id={job} {...(tenant === own ? { href: to('jobs', job) } : {})} />
                </p>
              </div>
              <span class="end faint">
                {duration(Math.max(0, Math.round((now.value - Date.parse(at)) / 1_000) * 1_000))}
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Refutations({ overview }: { readonly overview: Overview | undefined }): JSX.Element {
  const rows = overview?.refutations ?? [];
  const own = session.value?.tenant;
  return (
    <Panel
      title="Refuted, and why"
      aside={rows.length === 0 ? undefined : `the last ${exact(rows.length)}`}
      span={7}
      flush
    >
      {rows.length === 0 ? (
        <Empty icon="shield" title="No attempt was refuted">
          <p>What an attestor refutes is given to another worker, and shows here with its reason.</p>
        </Empty>
      ) : (
        <Table
          caption="Refuted attempts, the newest first"
          rows={rows.slice(0, 8)}
          keyOf={({ job, at, worker }) => `${job} ${at} ${worker}`}
          columns={[
            { name: 'Why', of: ({ detail }) => <Name text={detail} /> },
            { name: 'Model', of: ({ model }) => <Name text={model} /> },
            { name: 'Worker', of: ({ worker }) => <Id id={worker} /> },
            {
              name: 'Job',
              of: ({ job, tenant }) => <Id id={job} {...(tenant === own ? { href: to('jobs', job) } : {})} />,
            },
            {
              name: 'Ended as',
              of: ({ state }) =>
                state === 'done' || state === 'rejected' ? <JobStateMark state={state} /> : <Name text={state} />,
            },
            { name: 'When', number: true, of: ({ at }) => <Time at={at} /> },
          ]}
        />
      )}
    </Panel>
  );
}

function Refusals({ history, span }: Histories): JSX.Element {
  const refusals = history?.refusals ?? [];
  const most = refusals[0]?.count ?? 0;
  return (
    <Panel title="Refused at the door" aside={spanWord(span)} span={5}>
      {refusals.length === 0 ? (
        <Empty icon="tick" title="Nothing was refused">
          <p>Requests beyond a limit, or that could not end in time, are counted here by their code.</p>
        </Empty>
      ) : (
        <ul class="bars">
          {refusals.slice(0, 6).map(({ code, count: number }) => (
            <li key={code}>
              <p>
                <code>{code}</code>
                <span class="end">{count(number)}</span>
              </p>
              <Share value={number} of={most} />
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
