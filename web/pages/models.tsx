import type { JSX } from 'preact';
import type { ModelDocument, ModelList } from '../../src/roles/api/directory.schemas.ts';
import type { PoolStateDocument, PoolStateList } from '../../src/roles/api/pools.schemas.ts';
import { ask, has, may } from '../api.ts';
import { exact, jobs } from '../format.ts';
import { tick } from '../live.ts';
import { Act, Confirm, Empty, Head, Id, Name, Panel, Show, State, Table, Time, useLoad } from '../parts.tsx';

const EVERY_MS = 5_000;

/** What is offered, what serves it now, and how the pools stand. */
export function ModelsPage(): JSX.Element {
  const models = useLoad((signal) => ask<ModelList>('/v1/models', { signal }), [], EVERY_MS);
  return (
    <>
      <Head title="Models and pools">
        A model belongs to one pool, and a pool is a wall: its workers see the jobs of no other.
      </Head>
      <div class="grid">
        <Panel title="Models" span={12} flush>
          <Show loaded={models}>
            {({ data }) =>
              data.length === 0 ? (
                <Empty icon="models" title="The catalog is empty">
                  <p>Add a model to the catalog of the installation, and start the roles again.</p>
                </Empty>
              ) : (
                <ModelTable models={data} />
              )
            }
          </Show>
        </Panel>
        {has('operator') ? <Pools /> : null}
      </div>
    </>
  );
}

function ModelTable({ models }: { readonly models: readonly ModelDocument[] }): JSX.Element {
  return (
    <Table
      caption="Models"
      rows={models}
      keyOf={({ id }) => id}
      columns={[
        { name: 'Model', of: ({ id }) => <b>{id}</b> },
        { name: 'Pool', of: ({ pool }) => <Name text={pool} /> },
        { name: 'Tasks', of: ({ tasks }) => tasks.join(', ') },
        { name: 'Engine', of: ({ engine }) => <Name text={engine} /> },
        { name: 'Weights', of: ({ weights }) => weights },
        { name: 'Digest', of: ({ sha256 }) => <Id id={sha256} /> },
        {
          name: 'Loaded by',
          number: true,
          of: ({ workers, loaded_workers: loaded, cold_ms: coldMs }) =>
            workers === 0 ? (
              <State of="failed" word="no worker" />
            ) : coldMs !== null ? (
              `none of ${exact(workers)}, a load takes ${(coldMs / 1_000).toFixed(1)} s`
            ) : (
              `${loaded === workers ? '' : `${exact(loaded)} of `}${exact(workers)} worker${workers === 1 ? '' : 's'}`
            ),
        },
        { name: 'Recomputed by', number: true, of: (model) => exact(model.recomputing_attestors) },
        {
          name: 'Waiting',
          number: true,
          of: ({ id }) => {
            const queue = tick.value?.queues.find(({ model }) => model === id);
            return queue === undefined ? '–' : exact(queue.waiting);
          },
        },
      ]}
    />
  );
}

const SAYS = {
  open: { mark: 'running', word: 'open' },
  paused: { mark: 'paused', word: 'paused' },
  draining: { mark: 'draining', word: 'takes no new jobs' },
} as const;

function Pools(): JSX.Element {
  const pools = useLoad((signal) => ask<PoolStateList>('/v1/admin/pools', { signal }), [], EVERY_MS);
  return (
    <Panel title="Pools" span={12} flush>
      <Show loaded={pools}>
        {({ pools: rows }) => (
          <Table
            caption="Pools"
            rows={rows}
            keyOf={({ name }) => name}
            columns={[
              { name: 'Pool', of: ({ name }) => <b>{name}</b> },
              { name: 'State', of: ({ state }) => <State of={SAYS[state].mark} word={SAYS[state].word} /> },
              {
                name: 'Since',
                of: ({ since, by }) =>
                  since === null ? (
                    <span class="faint">–</span>
                  ) : (
                    <>
                      <Time at={since} /> by <Id id={by ?? ''} />
                    </>
                  ),
              },
              { name: 'Waiting', number: true, of: ({ waiting_jobs: waiting }) => exact(waiting) },
              { name: 'Do', of: (pool) => <PoolActions pool={pool} again={pools.again} /> },
            ]}
          />
        )}
      </Show>
    </Panel>
  );
}

function PoolActions({ pool, again }: { readonly pool: PoolStateDocument; readonly again: () => void }): JSX.Element {
  if (!may('operator')) return <span class="faint">you may look, not change</span>;
  const { name, state, waiting_jobs: waiting } = pool;
  const path = `/v1/admin/pools/${encodeURIComponent(name)}`;
  const change = async (wanted: 'open' | 'paused' | 'draining') => {
    await ask<PoolStateDocument>(path, { method: 'PATCH', body: { state: wanted } });
    again();
  };
  const empty = async () => {
    await ask<PoolStateDocument>(`${path}/empty`, { method: 'POST' });
    again();
  };
  return (
    <span class="actions">
      {state === 'open' ? (
        <>
          <Confirm label="Pause" title={`Pause ${name}?`} yes="Pause the pool" act={() => change('paused')}>
            <p>Jobs are accepted and wait, and nothing more is begun. What runs goes on to its end.</p>
          </Confirm>
          <Confirm label="Drain" title={`Drain ${name}?`} yes="Drain the pool" act={() => change('draining')}>
            <p>New jobs are refused. What waits, {exact(waiting)} now, is worked on.</p>
          </Confirm>
        </>
      ) : (
        <Act label="Resume" act={() => change('open')} />
      )}
      {waiting === 0 ? null : (
        <Confirm label="Empty" title={`Cancel what waits in ${name}?`} yes="Cancel what waits" act={empty}>
          <p>
            What waits now is cancelled, in steps: {jobs(waiting, exact(waiting))}. What runs goes on. This cannot be
            taken back.
          </p>
        </Confirm>
      )}
    </span>
  );
}
