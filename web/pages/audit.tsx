import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { AuditEntries, StuckList } from '../../src/roles/api/admin.schemas.ts';
import { ask, has } from '../api.ts';
import { exact, visibleLine } from '../format.ts';
import { Pager } from '../pager.tsx';
import { Empty, Head, Id, Name, Show, Table, Time, useLoad } from '../parts.tsx';

const PAGE = 50;

/** Who has used which power, and when. */
export function AuditPage(): JSX.Element {
  const [before, setBefore] = useState<readonly number[]>([]);
  const last = before.at(-1);
  const path = has('operator') ? '/v1/admin/audit' : '/v1/audit';
  const entries = useLoad(
    (signal) => ask<AuditEntries>(`${path}?limit=${PAGE}${last === undefined ? '' : `&before=${last}`}`, { signal }),
    [path, last],
  );
  return (
    <>
      <Head title="Audit log">
        Every act of power, and who has looked at an answer. Each entry names the one before it by its digest, so that
        none can be changed or left out.
      </Head>
      <section class="panel" aria-label="Entries">
        <Show loaded={entries}>
          {({ entries: rows, next_before: next }) =>
            rows.length === 0 ? (
              <Empty icon="audit" title="No entry yet">
                <p>Whoever makes, changes or ends something with a key of power is noted here.</p>
              </Empty>
            ) : (
              <>
                <Table
                  caption="Entries, the newest first"
                  rows={rows}
                  keyOf={({ n }) => String(n)}
                  columns={[
                    { name: 'Entry', number: true, of: ({ n }) => exact(n) },
                    { name: 'When', of: ({ at }) => <Time at={at} /> },
                    { name: 'By', of: ({ by }) => <Id id={by} /> },
                    { name: 'Act', of: ({ action }) => <code>{visibleLine(action, 60)}</code> },
                    { name: 'Target', of: ({ target }) => <Name text={target} /> },
                    { name: 'Tenant', of: ({ tenant }) => <Name text={tenant ?? '–'} /> },
                    { name: 'More', of: ({ detail }) => <Name text={saidOf(detail)} /> },
                  ]}
                />
                <Pager turned={before} next={next} size={PAGE} turn={setBefore} />
              </>
            )
          }
        </Show>
      </section>
    </>
  );
}

/** The details of an entry on one line; nothing where there are none. */
function saidOf(detail: unknown): string {
  const text = JSON.stringify(detail) as string | undefined;
  return text === undefined || text === '{}' ? '' : text;
}

/** Jobs whose confirmation fails again and again. */
export function StuckPage(): JSX.Element {
  const stuck = useLoad((signal) => ask<StuckList>('/v1/admin/jobs/stuck', { signal }), [], 5_000);
  return (
    <>
      <Head title="Jobs that cannot be judged">
        Each is tried again until its deadline. The cause says what to mend; nothing is lost meanwhile.
      </Head>
      <section class="panel" aria-label="Stuck jobs">
        <Show loaded={stuck}>
          {({ jobs }) =>
            jobs.length === 0 ? (
              <Empty icon="tick" title="None">
                <p>Every answer that was committed could be judged.</p>
              </Empty>
            ) : (
              <Table
                caption="Stuck jobs"
                rows={jobs}
                keyOf={({ id }) => id}
                columns={[
                  { name: 'Job', of: ({ id }) => <Id id={id} /> },
                  { name: 'Tenant', of: ({ tenant }) => <Name text={tenant} /> },
                  { name: 'Model', of: ({ model }) => <Name text={model} /> },
                  { name: 'Cause', of: ({ cause }) => <Name text={cause} /> },
                  { name: 'Failures', number: true, of: ({ failures }) => exact(failures) },
                  { name: 'Since', number: true, of: ({ since }) => <Time at={since} /> },
                  { name: 'Deadline', number: true, of: ({ deadline }) => <Time at={deadline} /> },
                ]}
              />
            )
          }
        </Show>
      </section>
    </>
  );
}
