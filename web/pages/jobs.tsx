import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Job } from '../../src/proof/contract/job.ts';
import type { JobState } from '../../src/proof/contract/job-states.ts';
import type { JobList } from '../../src/roles/api/jobs.schemas.ts';
import { ask, has, may } from '../api.ts';
import { duration } from '../format.ts';
import { Mark } from '../icons.tsx';
import { Pager } from '../pager.tsx';
import { Empty, Head, Id, JobStateMark, Name, Show, Signatures, Table, Time, WORDS, useLoad } from '../parts.tsx';
import { ask as askHere, place, to } from '../route.ts';
import { useModels } from '../models.ts';
import { AllThatMatch, deedsOf } from './all-that-match.tsx';

const STATES: readonly JobState[] = [
  'queued',
  'running',
  'attesting',
  'done',
  'rejected',
  'failed',
  'expired',
  'cancelled',
];
const PERIODS = [
  ['', 'any time'],
  ['3600000', 'the last hour'],
  ['86400000', 'the last 24 hours'],
  ['604800000', 'the last 7 days'],
] as const;
const EVERY_MS = 3_000;
const PAGE = 50;

/** The worker of the attempt that counts. */
const workerOf = ({ attempts }: Job) => attempts.at(-1)?.worker ?? '';
const hasEvidence = ({ attempts }: Job) => (attempts.at(-1)?.committed_at ?? null) !== null;

/** From the acceptance to the end of a job, or until now. */
export function tookMs({ created_at: created, ended_at: ended }: Job): number {
  return (ended === null ? Date.now() : Date.parse(ended)) - Date.parse(created);
}

/** The jobs that a key may read, the newest first, in pages. */
export function JobsPage(): JSX.Element {
  const { query } = place.value;
  const [pages, setPages] = useState<readonly string[]>([]);
  const filter: Filter = {
    state: query.get('state') ?? '',
    model: query.get('model') ?? '',
    since: query.get('since') ?? '',
    worker: query.get('worker') ?? '',
    key: query.get('key') ?? '',
    reason: query.get('reason') ?? '',
    idempotency: query.get('idempotency') ?? '',
    history: query.get('history') ?? '',
  };
  const cursor = pages.at(-1) ?? '';
  const choose = (change: Partial<Filter>) => {
    setPages([]);
    askHere({ ...filter, ...change });
  };
  const loaded = useLoad(
    (signal) => {
      const asked = searchOf(filter);
      asked.set('limit', String(PAGE));
      if (filter.state !== '') asked.set('state', filter.state);
      if (cursor !== '') asked.set('cursor', cursor);
      return ask<JobList>(`/v1/jobs?${asked.toString()}`, { signal });
    },
    [JSON.stringify(filter), cursor],
    EVERY_MS,
  );
  return (
    <>
      <Head title="Jobs">
        {has('read_all') ? 'Every job of your tenant' : 'What your key has asked for'}, the newest first, as long as it
        is kept. To find one by its id, type it into the field above.
      </Head>
      <Chips state={filter.state} choose={(state) => choose({ state })} />
      <Filters filter={filter} choose={choose} />
      {may('submit') && filter.idempotency === '' ? (
        <div class="deeds">
          {deedsOf(filter.state).map((what) => (
            <AllThatMatch
              key={`${what} ${JSON.stringify(filter)}`}
              what={what}
              filter={searchOf(filter)}
              state={filter.state}
            />
          ))}
        </div>
      ) : null}
      <section class="panel" aria-label="Jobs that match">
        <Show loaded={loaded}>
          {({ jobs, next_cursor: next, catching_up: isCatchingUp }) =>
            jobs.length === 0 && next === null && pages.length === 0 && !isCatchingUp ? (
              <NoJob isFiltered={Object.values(filter).some((one) => one !== '')} choose={choose} />
            ) : (
              <>
                {isCatchingUp ? (
                  <p class="small soft" role="status">
                    The history is still taking in what ended before: more may be found in a moment.
                  </p>
                ) : null}
                <JobTable jobs={jobs} />
                <Pager turned={pages} next={next} size={PAGE} turn={setPages} />
              </>
            )
          }
        </Show>
      </section>
    </>
  );
}

function Chips(props: { readonly state: string; readonly choose: (state: string) => void }): JSX.Element {
  return (
    <div class="chips" role="group" aria-label="State">
      <button type="button" aria-pressed={props.state === ''} onClick={() => props.choose('')}>
        All
      </button>
      {STATES.map((state) => (
        <button key={state} type="button" aria-pressed={props.state === state} onClick={() => props.choose(state)}>
          <Mark of={state} />
          {WORDS[state]}
        </button>
      ))}
    </div>
  );
}

interface Filter {
  readonly state: string;
  readonly model: string;
  readonly since: string;
  readonly worker: string;
  readonly key: string;
  readonly reason: string;
  readonly idempotency: string;
  /** `true` where also what only the history keeps is asked for. */
  readonly history: string;
}

const NO_FILTER: Filter = {
  ...{ state: '', model: '', since: '', worker: '', key: '', reason: '', idempotency: '', history: '' },
};

/** What the API is asked for, but for the state and the page. */
function searchOf(filter: Filter): URLSearchParams {
  const asked = new URLSearchParams();
  for (const name of ['model', 'worker', 'key', 'reason', 'history'] as const)
    if (filter[name] !== '') asked.set(name, filter[name]);
  if (filter.idempotency !== '') asked.set('idempotency_key', filter.idempotency);
  if (filter.since !== '') asked.set('created_after', new Date(Date.now() - Number(filter.since)).toISOString());
  return asked;
}

const TYPED = [
  ['worker', 'Worker'],
  ['key', 'Key'],
  ['reason', 'Words of the reason'],
  ['idempotency', 'Idempotency key'],
] as const;

function Filters(props: { readonly filter: Filter; readonly choose: (change: Partial<Filter>) => void }): JSX.Element {
  const models = useModels();
  return (
    <div class="fields">
      <div class="field">
        <label for="model">Model</label>
        <select
          id="model"
          value={props.filter.model}
          onChange={(event) => props.choose({ model: event.currentTarget.value })}
        >
          <option value="">any model</option>
          {models.map(({ id }) => (
            <option key={id} value={id}>
              {id}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <label for="since">Asked within</label>
        <select
          id="since"
          value={props.filter.since}
          onChange={(event) => props.choose({ since: event.currentTarget.value })}
        >
          {PERIODS.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </div>
      {TYPED.map(([name, label]) => (
        <div class="field" key={name}>
          <label for={name}>{label}</label>
          <input
            id={name}
            type="search"
            value={props.filter[name]}
            onChange={(event) => props.choose({ [name]: event.currentTarget.value.trim() })}
          />
        </div>
      ))}
      <div class="field">
        <label for="history">How far back</label>
        <select
          id="history"
          value={props.filter.history}
          onChange={(event) => props.choose({ history: event.currentTarget.value })}
        >
          <option value="">what is kept whole</option>
          <option value="true">the history too</option>
        </select>
      </div>
    </div>
  );
}

function NoJob(props: { readonly isFiltered: boolean; readonly choose: (change: Filter) => void }): JSX.Element {
  return props.isFiltered ? (
    <Empty icon="find" title="Nothing matches">
      <p>No job has all of this. Take the filters out, or look in the history too.</p>
      <button type="button" class="btn" onClick={() => props.choose(NO_FILTER)}>
        Show all jobs
      </button>
    </Empty>
  ) : (
    <Empty icon="jobs" title="No job yet">
      <p>Send one from the playground, or with the curl line that npm start prints. It shows here within seconds.</p>
      <a class="btn" href={to('playground')}>
        Open the playground
      </a>
    </Empty>
  );
}

function JobTable({ jobs }: { readonly jobs: readonly Job[] }): JSX.Element {
  return (
    <Table
      caption="Jobs, the newest first"
      rows={jobs}
      keyOf={({ id }) => id}
      columns={[
        { name: 'State', of: ({ state }) => <JobStateMark state={state} /> },
        { name: 'Job', of: ({ id }) => <Id id={id} href={to('jobs', id)} /> },
        { name: 'Model', of: ({ model }) => <Name text={model} /> },
        { name: 'Task', of: ({ task }) => task },
        {
          name: 'Worker',
          of: (job) => (workerOf(job) === '' ? <span class="faint">–</span> : <Id id={workerOf(job)} />),
        },
        {
          name: 'Why',
          of: ({ state, reason }) =>
            reason === null || state === 'done' ? <span class="faint">–</span> : <Name text={reason.detail} />,
        },
        { name: 'Signed', of: (job) => <Signatures state={job.state} committed={hasEvidence(job)} /> },
        { name: 'Took', number: true, of: (job) => duration(tookMs(job)) },
        { name: 'Asked', number: true, of: ({ created_at: at }) => <Time at={at} /> },
      ]}
    />
  );
}
