import type { ComponentChildren, JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Cancellation, Job } from '../../src/proof/contract/job.ts';
import type { Why } from '../../src/proof/contract/why.ts';
import { ask, may, send, session } from '../api.ts';
import { Parts } from '../chart.tsx';
import { bytes, duration, exact, visibleLine } from '../format.ts';
import { Icon, Mark, type IconName } from '../icons.tsx';
import {
  Act,
  Confirm,
  Copy,
  Facts,
  Foreign,
  Id,
  Name,
  Panel,
  Problem,
  Signatures,
  Time,
  WORDS,
  useLoad,
} from '../parts.tsx';
import { answerText } from '../answer.ts';
import { readReceipt, type ReadReceipt } from '../receipt.ts';
import { to } from '../route.ts';
import { GAPS, PROOFS, saysOf } from '../words.ts';
import { Again } from './again.tsx';
import { tookMs } from './jobs.tsx';

const EVERY_MS = 1_500;

interface Seen {
  readonly job: Job;
  readonly why: Why | undefined;
  readonly receipt: ReadReceipt | undefined;
}

/** What is known of a job: its document, what holds it while it is open, and its receipt once it is done. */
async function look(id: string, signal: AbortSignal): Promise<Seen> {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  const job = await ask<Job>(path, { signal });
  const [why, receipt] = await Promise.all([
    job.ended_at === null ? ask<Why>(`${path}/why`, { signal }) : undefined,
    job.links.receipt === null ? undefined : send(job.links.receipt, { signal }).then((answer) => answer.text()),
  ]);
  return { job, why, receipt: receipt === undefined ? undefined : readReceipt(receipt) };
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
  const { job, why, receipt } = seen;
  return (
    <>
      <JobHead job={job} again={again} />
      {why === undefined ? <Split job={job} /> : <WhyItWaits why={why} job={job} />}
      <div class="columns">
        <Timeline job={job} receipt={receipt} />
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
        {job.queue_position === null ? '' : `${exact(job.queue_position)} jobs are to end before it begins. `}
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

interface Step {
  readonly at: string | undefined;
  readonly icon: IconName;
  readonly title: string;
  readonly aside?: string;
  readonly text: ComponentChildren;
  readonly card?: ComponentChildren;
}

const ENDINGS: Readonly<Record<string, readonly [title: string, text: string]>> = {
  refuted: ['Refuted', 'The attestor did not confirm this answer. It is used nowhere.'],
  released: ['Given back', 'The worker gave the job back; what it had written is void.'],
  lost: ['Lost', 'Nothing was heard of the worker until its lease ran out; what it had written is void.'],
  voted: ['Counted', 'This answer is one of those that a quorum compares.'],
  void: ['Given back unbegun', 'Its engine had not begun; it counts as no attempt.'],
};

function stepsOf(job: Job, receipt: ReadReceipt | undefined): Step[] {
  const steps: Step[] = [
    {
      at: job.created_at,
      icon: 'ticket',
      title: 'Ticket',
      aside: 'signed by the API',
      text: `What was asked: a ${job.task}${job.params === null ? '' : ` of at most ${exact(job.params.max_tokens)} tokens, seed ${job.params.seed}, temperature ${job.params.temperature}`}.`,
      ...(receipt === undefined ? {} : { card: <TicketCard receipt={receipt} /> }),
    },
  ];
  for (const { epoch, worker, claimed_at, started_at, committed_at, closed } of job.attempts) {
    steps.push({
      at: started_at ?? claimed_at,
      icon: 'claim',
      title: started_at === null ? 'Claimed' : 'Begun',
      aside: `attempt ${epoch}`,
      text: (
        <>
          Worker <Id id={worker} /> {started_at === null ? 'holds it ready.' : 'runs it.'}
        </>
      ),
    });
    if (committed_at !== null)
      steps.push({
        at: committed_at,
        icon: 'workers',
        title: 'Evidence',
        aside: 'signed by the worker',
        text: 'What the worker says it did.',
        ...(receipt?.evidence.epoch === epoch ? { card: <EvidenceCard receipt={receipt} /> } : {}),
      });
    if (closed !== null) {
      const [title, text] = ENDINGS[closed.why] ?? [closed.why, ''];
      steps.push({
        at: closed.at,
        icon: 'again',
        title,
        aside: 'by the attestor',
        text: (
          <>
            {text} {closed.detail === '' ? null : <b>{visibleLine(closed.detail, 300)}</b>}
          </>
        ),
      });
    }
  }
  return [...steps, ...endOf(job, receipt)];
}

function endOf(job: Job, receipt: ReadReceipt | undefined): Step[] {
  if (receipt !== undefined)
    return [
      {
        at: receipt.verdict.timeCreated,
        icon: 'shield',
        title: 'Checks',
        aside: 'by the attestor',
        text: `The verdict is ${receipt.verdict.decision}, signed by ${visibleLine(receipt.verdict.verifier.id, 80)}.`,
        card: <CheckList receipt={receipt} />,
      },
      {
        at: job.ended_at ?? undefined,
        icon: 'log',
        title: 'In the log',
        ...(receipt.index === undefined ? {} : { aside: `entry ${exact(receipt.index)}` }),
        text: 'From here on the job is done, and no other end is possible.',
      },
    ];
  if (job.ended_at !== null)
    return [
      {
        at: job.ended_at,
        icon: 'close',
        title: WORDS[job.state],
        text: job.reason === null ? '' : visibleLine(job.reason.detail, 300),
      },
    ];
  const last = job.attempts.at(-1);
  const toCome: Step[] = [];
  const step = (icon: IconName, title: string, text: string): Step => ({ at: undefined, icon, title, text });
  if (last === undefined || last.closed !== null)
    toCome.push(step('claim', 'Claim', 'by whichever worker is free first'));
  if (last?.committed_at == null || last.closed !== null)
    toCome.push(step('workers', 'Evidence', 'signed by that worker'));
  return [...toCome, step('shield', 'Verdict', 'signed by an attestor, and in the log')];
}

function Timeline({ job, receipt }: { readonly job: Job; readonly receipt: ReadReceipt | undefined }): JSX.Element {
  const steps = stepsOf(job, receipt).toSorted(
    (a, b) => Date.parse(a.at ?? '9999-12-31') - Date.parse(b.at ?? '9999-12-31'),
  );
  return (
    <section aria-label="What happened">
      <ol class="timeline">
        {steps.map(({ at, icon, title, aside, text, card }, place) => (
          <li key={`${title} ${at ?? ''} ${place}`} class={at === undefined ? 'to-come' : ''}>
            <span class="when">
              {at === undefined ? (
                'next'
              ) : place === 0 ? (
                <Time at={at} />
              ) : (
                `+ ${duration(Math.max(0, Date.parse(at) - Date.parse(job.created_at)))}`
              )}
            </span>
            <span class="dot">
              <Icon name={icon} />
            </span>
            <div>
              <h2>
                {title}
                {aside === undefined ? null : <span>{aside}</span>}
              </h2>
              <p>{text}</p>
              {card === undefined ? null : <div class="card">{card}</div>}
            </div>
          </li>
        ))}
      </ol>
    </section>
  );
}

const short = (digest: string) => <code title={digest}>{`${digest.slice(0, 8)}…${digest.slice(-4)}`}</code>;

const TicketCard = ({ receipt }: { readonly receipt: ReadReceipt }): JSX.Element => (
  <Facts
    of={[
      [
        'Question',
        <>
          {bytes(receipt.ticket.inputBytes)}, {short(receipt.inputSha256)}
        </>,
      ],
      [
        'Model',
        <>
          {receipt.ticket.model.name}, {short(receipt.ticket.model.sha256)}
        </>,
      ],
      ['Signed by', short(receipt.signers[0])],
    ]}
  />
);

const EvidenceCard = ({ receipt }: { readonly receipt: ReadReceipt }): JSX.Element => (
  <Facts
    of={[
      ['Answer', short(receipt.outputSha256)],
      ['Tokens', `${exact(receipt.evidence.usage.inputTokens)} in, ${exact(receipt.evidence.usage.outputTokens)} out`],
      ['Weights', receipt.evidence.model.measured ? 'measured by the worker' : 'declared by the worker, not measured'],
      ['Signed by', short(receipt.signers[1])],
    ]}
  />
);

function CheckList({ receipt }: { readonly receipt: ReadReceipt }): JSX.Element {
  const { properties, notChecked } = receipt.verdict;
  return (
    <ul class="checks">
      {properties.map((name) => (
        <li key={name}>
          <span class="done">
            <Icon name="tick" />
          </span>
          <span>
            {saysOf(PROOFS, name)} <code class="faint">{name}</code>
          </span>
        </li>
      ))}
      {notChecked.map((name) => (
        <li key={name}>
          <Mark of="cancelled" />
          <span class="soft">
            Not checked: {saysOf(GAPS, name)} <code class="faint">{name}</code>
          </span>
        </li>
      ))}
    </ul>
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

function Receipt({ job, receipt }: { readonly job: Job; readonly receipt: ReadReceipt | undefined }): JSX.Element {
  if (receipt === undefined)
    return (
      <Panel title="Receipt">
        <p class="soft">
          There is none{job.ended_at === null ? ' yet' : ''}. A receipt exists once an attestor has confirmed the
          answer.
        </p>
        <p class="small soft">
          <Signatures state={job.state} committed={(job.attempts.at(-1)?.committed_at ?? null) !== null} />{' '}
          {job.state === 'rejected' ? 'refuted' : 'not all are signed'}
        </p>
      </Panel>
    );
  const { properties, notChecked } = receipt.verdict;
  return (
    <section class="panel">
      <header>
        <h2>Receipt</h2>
        <span class="aside">{bytes(receipt.bytes)}</span>
      </header>
      <div class="pair">
        <div>
          <h3>
            <Icon name="tick" />
            What it proves
          </h3>
          <ul>
            <li>Who asked what, who answered, who confirmed, and when.</li>
            {properties
              .filter((name) => name in PROOFS.shown)
              .map((name) => (
                <li key={name}>{saysOf(PROOFS, name)}.</li>
              ))}
            <li>The verdict was in a public log before the job was done.</li>
          </ul>
        </div>
        <div>
          <h3>
            <Mark of="suspect" />
            What it does not prove
          </h3>
          <ul>
            <li>That the answer is true or good.</li>
            {notChecked.map((name) => (
              <li key={name}>{capital(saysOf(GAPS, name))}.</li>
            ))}
          </ul>
        </div>
        <div class="actions">
          <a class="btn" href="/verify">
            Check it yourself
          </a>
          {job.links.receipt === null ? null : (
            <a class="btn" href={job.links.receipt} download>
              <Icon name="save" />
              Save it
            </a>
          )}
        </div>
      </div>
    </section>
  );
}

const capital = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

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
