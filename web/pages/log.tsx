import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Job } from '../../src/proof/contract/job.ts';
import type { LogDocuments } from '../../src/roles/api/log.schemas.ts';
import { Refused, ask, has, send } from '../api.ts';
import { readCheckpoint } from '../checkpoint.ts';
import { exact } from '../format.ts';
import { Mark } from '../icons.tsx';
import { verdicts } from '../live.ts';
import {
  Act,
  Command,
  Copy,
  Empty,
  Facts,
  Head,
  Id,
  JobStateMark,
  Name,
  Panel,
  Show,
  Table,
  Time,
  useLoad,
} from '../parts.tsx';
import { readReceipt } from '../receipt.ts';
import { to } from '../route.ts';

const EVERY_MS = 3_000;

/** The newest checkpoint; undefined where the log has no entry yet. */
async function newestCheckpoint(signal: AbortSignal) {
  try {
    return { note: await (await send('/log/checkpoint', { signal })).text() };
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return { note: undefined };
    throw error;
  }
}

/** What everybody can see of the verdicts: the checkpoint, who cosigns it, and whether a job is in it. */
export function LogPage(): JSX.Element {
  const checkpoint = useLoad(newestCheckpoint, [], EVERY_MS);
  const documents = useLoad((signal) => ask<LogDocuments>('/log/documents', { signal }), [], 30_000);
  return (
    <>
      <Head title="Log">
        Every verdict, in order, before its job is done. Nothing here can be changed or taken out without everyone
        seeing it.
      </Head>
      <div class="grid">
        <Panel title="Newest checkpoint" span={7}>
          <Show loaded={checkpoint}>{({ note }) => <Newest note={note} />}</Show>
        </Panel>
        <Panel title="Signed by" span={5} flush>
          <Show loaded={checkpoint}>{({ note }) => <Signers note={note} />}</Show>
        </Panel>
        <Inclusion />
        {has('operator') ? <NewestEnds /> : null}
        <Panel title="What else stands in it" aside="entries that are no verdicts" span={12} flush>
          <Show loaded={documents}>
            {({ documents: rows }) =>
              rows.length === 0 ? (
                <Empty icon="log" title="Only verdicts so far">
                  <p>
                    Lists of workers, keyrings, closed months and heads of the audit log stand here before they count.
                  </p>
                </Empty>
              ) : (
                <Table
                  caption="Documents in the log"
                  rows={rows.toSorted((a, b) => b.index - a.index).slice(0, 50)}
                  keyOf={({ index }) => String(index)}
                  columns={[
                    { name: 'Entry', number: true, of: ({ index }) => exact(index) },
                    { name: 'Kind', of: ({ kind }) => <Name text={kind} /> },
                    { name: 'SHA-256', of: ({ sha256 }) => <Id id={sha256} /> },
                    { name: 'Signed by', of: ({ keyid }) => <Id id={keyid} /> },
                  ]}
                />
              )
            }
          </Show>
        </Panel>
      </div>
    </>
  );
}

function Newest({ note }: { readonly note: string | undefined }): JSX.Element {
  const read = note === undefined ? undefined : readCheckpoint(note);
  if (read === undefined || note === undefined)
    return (
      <Empty icon="log" title="The log has no entry yet">
        <p>The first confirmed job is its first verdict.</p>
      </Empty>
    );
  return (
    <>
      <p class="big">
        {exact(read.size)} <small>entries</small>
      </p>
      <Facts
        of={[
          ['Name', <code key="name">{read.origin}</code>],
          ['Root', <code key="root">{read.root}</code>],
        ]}
      />
      <p class="actions">
        <Copy text={note} label="Copy the signed note" />
      </p>
      <p class="small soft">To watch it yourself, and refuse whatever does not only grow:</p>
      <Command text="countersign witness --name NAME --policy log-policy --key witness.key --folder witness" />
    </>
  );
}

function Signers({ note }: { readonly note: string | undefined }): JSX.Element {
  const read = note === undefined ? undefined : readCheckpoint(note);
  const [log, ...witnesses] = read?.signers ?? [];
  return (
    <ul class="rows">
      {log === undefined ? null : (
        <li>
          <Mark of="done" />
          <div>
            <h3>
              <Name text={log} />
            </h3>
            <p>the log itself</p>
          </div>
        </li>
      )}
      {witnesses.map((name) => (
        <li key={name}>
          <Mark of="done" />
          <div>
            <h3>
              <Name text={name} />
            </h3>
            <p>a witness: it has seen the log only grow, up to this size</p>
          </div>
        </li>
      ))}
      {witnesses.length > 0 ? null : (
        <li>
          <Mark of="silent" />
          <div>
            <h3>No witness</h3>
            <p>Nobody but the log vouches that everyone is shown the same one. Name witnesses in the log’s policy.</p>
          </div>
        </li>
      )}
    </ul>
  );
}

/** Whether a job stands in the log, by the proof in its receipt. */
function Inclusion(): JSX.Element {
  const [id, setId] = useState('');
  const [found, setFound] = useState<{ readonly job: string; readonly index: number | undefined }>();
  const look = async () => {
    setFound(undefined);
    const job = await ask<Job>(`/v1/jobs/${encodeURIComponent(id.trim())}`);
    if (job.links.receipt === null) setFound({ job: job.id, index: undefined });
    else setFound({ job: job.id, index: readReceipt(await (await send(job.links.receipt)).text()).index });
  };
  return (
    <Panel title="Is a job in it?" span={has('operator') ? 7 : 12}>
      <div class="stack">
        <div class="field">
          <label for="inclusion">The id of a job</label>
          <input
            id="inclusion"
            spellcheck={false}
            placeholder="job_…"
            value={id}
            onInput={(event) => setId(event.currentTarget.value)}
          />
        </div>
        <Act label="Look" icon="find" disabled={id.trim() === ''} act={look} />
        <div aria-live="polite">
          {found === undefined ? null : found.index === undefined ? (
            <p>
              <b>Not as a confirmed job.</b> Only what an attestor confirmed stands in the log.
            </p>
          ) : (
            <p>
              <b class="done">Entry {exact(found.index)}.</b> Its receipt holds the proof: save it from{' '}
              <a href={to('jobs', found.job)}>the job</a>, and <a href="/verify">check it yourself</a>, without trusting
              this page.
            </p>
          )}
        </div>
      </div>
    </Panel>
  );
}

function NewestEnds(): JSX.Element {
  const rows = verdicts.value.filter(({ state }) => state === 'done').slice(0, 8);
  return (
    <Panel title="Newest verdicts in it" aside="live" span={5} flush>
      {rows.length === 0 ? (
        <Empty icon="log" title="None yet">
          <p>Each confirmed job shows here as it is published.</p>
        </Empty>
      ) : (
        <Table
          caption="Newest confirmed jobs"
          rows={rows}
          keyOf={({ job }) => job}
          columns={[
            { name: 'Verdict', of: ({ state }) => <JobStateMark state={state} /> },
            { name: 'Job', of: ({ job }) => <Id id={job} /> },
            { name: 'When', number: true, of: ({ at }) => <Time at={at} /> },
          ]}
        />
      )}
    </Panel>
  );
}
