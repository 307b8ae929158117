import type { ComponentChildren, JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Cancellation, Job } from '../../src/proof/contract/job.ts';
import type { DeliveryDocument, DeliveryList } from '../../src/roles/api/webhooks.schemas.ts';
import type { Why } from '../../src/proof/contract/why.ts';
import { ask, may, send, session } from '../api.ts';
import { Parts } from '../chart.tsx';
import { duration, exact, jobs, visibleLine } from '../format.ts';
import { Icon, Mark } from '../icons.tsx';
import { Act, Confirm, Copy, Facts, Foreign, Name, Panel, Problem, Time, WORDS, useLoad } from '../parts.tsx';
import { answerText } from '../answer.ts';
import { readReceipt, type ReadReceipt } from '../receipt.ts';
import { to } from '../route.ts';
import { Again } from './again.tsx';
import { tookMs } from './jobs.tsx';
import { Receipt } from './job-receipt.tsx';
import { Timeline } from './job-timeline.tsx';

const EVERY_MS = 1_500;

interface Seen {
  readonly job: Job;
  readonly why: Why | undefined;
  readonly receipt: ReadReceipt | undefined;
  readonly deliveries: readonly DeliveryDocument[];
}

/** What is known of a job: its document, what holds it while it is open, and its receipt once it is done. */
async function look(id: string, signal: AbortSignal): Promise<Seen> {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  const job = await ask<Job>(path, { signal });
  const [why, receipt, told] = await Promise.all([
    job.ended_at === null ? ask<Why>(`${path}/why`, { signal }) : undefined,
    job.links.receipt === null ? undefined : send(job.links.receipt, { signal }).then((answer) => answer.text()),
    may('tenant_admin') ? ask<DeliveryList>(`${path}/deliveries`, { signal }) : undefined,
  ]);
  return {
    job,
    why,
    receipt: receipt === undefined ? undefined : readReceipt(receipt),
    deliveries: told?.deliveries ?? [],
  };
}

/** The life of one job. */
export function JobPage({ id }: { readonly id: string }): JSX.Element {
  const [isOver, setOver] = useState(false);
  const { value, error, again } = useLoad(
    async (signal) => {
      const seen = await look(id, signal);
      // What has ended changes no more.
      if (seen.job.ended_at !== null) setOver(true);
      return seen;
    },
    [id, isOver],
    isOver ? undefined : EVERY_MS,
  );
  return (
    <>
      <p class="crumbs">
        <a href={to('jobs')}>Jobs</a> / {visibleLine(session.value?.tenant ?? '', 80)}
      </p>
      {error === undefined ? null : <Problem error={error} again={again} />}
      {value === undefined ? (
        error === undefined ? (
          <p class="faint">Loading …</p>
        ) : (
          <h1 class="jobid">{visibleLine(id, 80)}</h1>
        )
      ) : (
        <Life seen={value} again={again} />
      )}
    </>
  );
}

function Life({ seen, again }: { readonly seen: Seen; readonly again: () => void }): JSX.Element {
  const { job, why, receipt, deliveries } = seen;
  return (
    <>
      <JobHead job={job} again={again} />
      {why === undefined ? <Split job={job} /> : <WhyItWaits why={why} job={job} />}
      <div class="columns">
        <Timeline job={job} receipt={receipt} deliveries={deliveries} />
        <div>
          <Content job={job} />
          <Receipt job={job} receipt={receipt} />
          <Panel title="Facts">
            <Facts of={factsOf(job, receipt)} />
          </Panel>
          {may('submit') && job.params !== null ? <Again job={job} inputSha256={receipt?.inputSha256} /> : null}
        </div>
      </div>
    </>
  );
}

function JobHead({ job, again }: { readonly job: Job; readonly again: () => void }): JSX.Element {
  const cancel = async () => {
    await ask<Cancellation>(`/v1/jobs/${job.id}/cancel`, { method: 'POST' });
    again();
  };
  return (
    <div class="head">
      <div>
        <h1 class="jobid">{job.id}</h1>
        <p>
          <span class={`badge st ${job.state}`}>
            <Mark of={job.state} />
            {WORDS[job.state]}
          </span>{' '}
          <Name text={job.model} />, asked at <Time at={job.created_at} />
          {job.ended_at === null ? '' : `, ended ${duration(tookMs(job))} later`}
        </p>
        {job.reason === null || job.state === 'done' ? null : (
          <p>
            <b>{visibleLine(job.reason.detail, 300)}</b> <code class="faint">{job.reason.code}</code>
          </p>
        )}
      </div>
      <div class="actions">
        <Copy text={job.id} label="Copy the id" />
        {job.ended_at === null && may('submit') ? (
          <Confirm label="Cancel" title="Cancel this job?" yes="Cancel the job" act={cancel}>
            <p>It ends as cancelled once no worker runs it. What it has cost by then is not charged.</p>
          </Confirm>
        ) : null}
        {job.links.receipt === null ? null : (
          <a class="btn primary" href={job.links.receipt} download>
            <Icon name="save" />
            Save the receipt
          </a>
        )}
      </div>
    </div>
  );
}

/** How long each phase of the attempt that counts took, in ms. */
function phasesOf({ created_at, ended_at, attempts }: Job) {
  const last = attempts.at(-1);
  const at = (time: string | null | undefined) => (time == null ? undefined : Date.parse(time));
  const [created = 0, began, committed, ended = Date.now()] = [
    at(created_at),
    at(last?.started_at),
    at(last?.committed_at),
    at(ended_at),
  ];
  return {
    wait: Math.max(0, (began ?? ended) - created),
    run: began === undefined ? 0 : Math.max(0, (committed ?? ended) - began),
    confirm: committed === undefined ? 0 : Math.max(0, ended - committed),
  };
}

function Split({ job }: { readonly job: Job }): JSX.Element {
  const { wait, run, confirm } = phasesOf(job);
  return (
    <div class="split">
      <Parts
        label={`waiting ${duration(wait)}, running ${duration(run)}, confirming ${duration(confirm)}`}
        of={[
          { name: 'waiting', state: 'queued', value: wait },
          { name: 'running', state: 'running', value: run },
          { name: 'confirming', state: 'attesting', value: confirm },
        ]}
      />
      <p class="legend">
        <span class="queued">
          <Mark of="queued" />
          waiting <b>{duration(wait)}</b>
        </span>
        <span class="running">
          <Mark of="running" />
          running <b>{duration(run)}</b>
        </span>
        <span class="attesting">
          <Mark of="attesting" />
          confirming <b>{duration(confirm)}</b>
        </span>
        <span class="faint">of {duration(Date.parse(job.deadline) - Date.parse(job.created_at))} allowed</span>
      </p>
    </div>
  );
}

function WhyItWaits({ why, job }: { readonly why: Why; readonly job: Job }): JSX.Element {
  const waited = duration(Math.round(tookMs(job) / 1_000) * 1_000);
  return (
    <section class="why" aria-label="What holds it now">
      <h2>
        {WORDS[job.state]} for {waited}
        {job.eta === null ? '' : ' and expected to end by '}
        {job.eta === null ? null : <Time at={job.eta.p90} />}
      </h2>
      <p>
        {visibleLine(why.detail, 400)}{' '}
        {job.queue_position === null
          ? ''
          : `Before it begins, ${jobs(job.queue_position, exact(job.queue_position))} must end. `}
        Its deadline is <Time at={job.deadline} />.
      </p>
      {why.remedy === null ? null : (
        <p>
          <b>What would change it:</b> {visibleLine(why.remedy, 400)}
        </p>
      )}
      <p class="small faint">
        <code>{why.held_by}</code>
      </p>
    </section>
  );
}

/** The answer, which nobody sees by passing by: showing it is written down. */
function Content({ job }: { readonly job: Job }): JSX.Element {
  const [answer, setAnswer] = useState<string>();
  if (job.erased_at !== null)
    return (
      <Panel title="Question and answer">
        <p class="soft">
          Both were erased at <Time at={job.erased_at} />.
        </p>
      </Panel>
    );
  const show = async () => {
    if (job.links.output !== null) setAnswer(answerText(await ask(job.links.output)));
  };
  return (
    <Panel title="Question and answer">
      {job.links.output === null ? (
        <p class="soft">
          {job.ended_at === null ? 'There is no answer yet.' : 'No answer was confirmed, so there is none to show.'} Of
          the question, this service keeps the digest alone once the job has ended.
        </p>
      ) : answer === undefined ? (
        <div class="stack">
          <p aria-hidden="true" class="faint">
            ████ ██████ ██ ███ ████
          </p>
          <p class="small soft">
            Hidden. Showing it is written into the audit log with your key. Of the question, this service keeps the
            digest alone.
          </p>
          <Act label="Show the answer" icon="eye" act={show} />
        </div>
      ) : (
        <Foreign text={answer} name="answer" />
      )}
    </Panel>
  );
}

function factsOf(job: Job, receipt: ReadReceipt | undefined): (readonly [string, ComponentChildren])[] {
  return [
    ['Tenant', <Name key="tenant" text={receipt?.ticket.tenant ?? session.value?.tenant ?? ''} />],
    ['Pool', <Name key="pool" text={receipt?.ticket.pool ?? '–'} />],
    ['Confirmed by', job.confirmed_by?.join(', ') ?? '–'],
    ['Not checked', job.not_checked === null || job.not_checked.length === 0 ? '–' : job.not_checked.join(', ')],
    ['Deadline', <Time key="deadline" at={job.deadline} />],
    ['Attempts', exact(job.attempts.length)],
  ];
}
