import type { JSX } from 'preact';
import type { z } from 'zod';
import type { BatchDocument, BatchList } from '../../src/surfaces/batches/batch-document.ts';
import { ask, may } from '../api.ts';
import { Parts } from '../chart.tsx';
import { count, exact, visibleLine } from '../format.ts';
import type { MarkName } from '../icons.tsx';
import { Confirm, Empty, Facts, Head, Id, Name, Panel, Show, State, Table, Time, useLoad } from '../parts.tsx';
import { place, to } from '../route.ts';

const EVERY_MS = 3_000;

const MARKS: Readonly<Record<string, MarkName>> = {
  validating: 'queued',
  in_progress: 'running',
  finalizing: 'attesting',
  completed: 'done',
  failed: 'failed',
  expired: 'expired',
  cancelling: 'cancelled',
  cancelled: 'cancelled',
};
const isOpen = ({ status }: BatchDocument) => ['validating', 'in_progress', 'finalizing'].includes(status);
const BatchState = ({ status }: BatchDocument): JSX.Element => (
  <State of={MARKS[status] ?? 'queued'} word={status.replace('_', ' ')} />
);

/** Files of requests that run behind interactive work. */
export function BatchesPage(): JSX.Element {
  const id = place.value.parts[1];
  return id === undefined ? <AllBatches /> : <OneBatch id={id} key={id} />;
}

function Progress({ request_counts: { total, completed, failed } }: BatchDocument): JSX.Element {
  return (
    <Parts
      label={`${exact(completed)} of ${exact(total)} lines are confirmed, ${exact(failed)} failed`}
      of={[
        { name: 'completed', state: 'done', value: completed },
        { name: 'failed', state: 'failed', value: failed },
        { name: 'left', state: 'rest', value: Math.max(0, total - completed - failed) },
      ]}
    />
  );
}

function AllBatches(): JSX.Element {
  const batches = useLoad(
    (signal) => ask<z.infer<typeof BatchList>>('/v1/batches?limit=100', { signal }),
    [],
    EVERY_MS,
  );
  return (
    <>
      <Head title="Batches">
        Files of requests that run behind interactive work, each line confirmed like any other job.
      </Head>
      <section class="panel" aria-label="Batches">
        <Show loaded={batches}>
          {({ data }) =>
            data.length === 0 ? (
              <Empty icon="batches" title="No batch yet">
                <p>Upload a file of requests with the purpose “batch”, and name it in POST /v1/batches.</p>
                <a class="btn" href="/docs#tag-Batches">
                  How to send one
                </a>
              </Empty>
            ) : (
              <Table
                caption="Batches, the newest first"
                rows={data}
                keyOf={({ id }) => id}
                columns={[
                  { name: 'State', of: (batch) => <BatchState {...batch} /> },
                  { name: 'Batch', of: ({ id }) => <Id id={id} href={to('batches', id)} /> },
                  { name: 'Model', of: ({ model }) => <Name text={model ?? '–'} /> },
                  { name: 'Progress', of: (batch) => <Progress {...batch} /> },
                  {
                    name: 'Lines',
                    number: true,
                    of: ({ request_counts: { completed, total } }) => `${count(completed)} of ${count(total)}`,
                  },
                  { name: 'Failed', number: true, of: ({ request_counts: { failed } }) => count(failed) },
                  { name: 'Made', number: true, of: ({ created_at: at }) => <Time at={at * 1_000} /> },
                ]}
              />
            )
          }
        </Show>
      </section>
    </>
  );
}

function OneBatch({ id }: { readonly id: string }): JSX.Element {
  const path = `/v1/batches/${encodeURIComponent(id)}`;
  const batch = useLoad((signal) => ask<BatchDocument>(path, { signal }), [path], EVERY_MS);
  const cancel = async () => {
    await ask<BatchDocument>(`${path}/cancel`, { method: 'POST' });
    batch.again();
  };
  return (
    <>
      <p class="crumbs">
        <a href={to('batches')}>Batches</a> / {visibleLine(id, 60)}
      </p>
      <Show loaded={batch}>
        {(document) => (
          <>
            <Head
              title={<span class="jobid">{document.id}</span>}
              actions={
                isOpen(document) && may('submit') ? (
                  <Confirm label="Cancel" title="Cancel this batch?" yes="Cancel the batch" act={cancel}>
                    <p>No further line is begun, and what runs is cancelled. What was confirmed stays.</p>
                  </Confirm>
                ) : undefined
              }
            >
              <BatchState {...document} /> {count(document.request_counts.completed)} of{' '}
              {count(document.request_counts.total)} lines are confirmed, {count(document.request_counts.failed)}{' '}
              failed.
            </Head>
            <div class="split">
              <Progress {...document} />
            </div>
            <BatchFacts batch={document} />
          </>
        )}
      </Show>
    </>
  );
}

function BatchFacts({ batch }: { readonly batch: BatchDocument }): JSX.Element {
  const { output_file_id: output, error_file_id: errors, errors: refused } = batch;
  return (
    <div class="grid">
      <Panel title="Facts" span={6}>
        <Facts
          of={[
            ['Model', <Name key="model" text={batch.model ?? '–'} />],
            ['Endpoint', <code key="endpoint">{batch.endpoint}</code>],
            ['Tokens', `${count(batch.usage.input_tokens)} in, ${count(batch.usage.output_tokens)} out`],
            ['Begun', <Time key="begun" at={batch.in_progress_at === null ? null : batch.in_progress_at * 1_000} />],
            ['Ends by', <Time key="ends" at={batch.expires_at * 1_000} />],
            ['Receipts', batch.countersign === null ? 'once it is over' : exact(batch.countersign.receipts)],
          ]}
        />
      </Panel>
      <Panel title="Files" span={6}>
        <div class="stack">
          {output === null && errors === null ? (
            <p class="soft">The results are there once the batch is over.</p>
          ) : null}
          {output === null ? null : (
            <a class="btn" href={`/v1/files/${output}/content`} download>
              Save the answers
            </a>
          )}
          {errors === null ? null : (
            <a class="btn" href={`/v1/files/${errors}/content`} download>
              Save the errors
            </a>
          )}
        </div>
      </Panel>
      {refused === null ? null : (
        <Panel title="Why it was refused" flush>
          <Table
            caption="Mistakes in the file"
            rows={refused.data}
            keyOf={({ line, code }) => `${String(line)} ${code}`}
            columns={[
              { name: 'Line', number: true, of: ({ line }) => (line === null ? '–' : exact(line)) },
              { name: 'Code', of: ({ code }) => <code>{code}</code> },
              { name: 'Mistake', of: ({ message }) => <Name text={message} /> },
            ]}
          />
        </Panel>
      )}
    </div>
  );
}
