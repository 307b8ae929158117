import type { ComponentChildren, JSX } from 'preact';
import type { Job } from '../../src/proof/contract/job.ts';
import type { DeliveryDocument } from '../../src/roles/api/webhooks.schemas.ts';
import { bytes, duration, exact, money, visibleLine } from '../format.ts';
import { Icon, Mark, type IconName } from '../icons.tsx';
import { Facts, Id, Name, Time, WORDS } from '../parts.tsx';
import type { ReadReceipt } from '../receipt.ts';
import { GAPS, PROOFS, saysOf } from '../words.ts';

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

function stepsOf(job: Job, receipt: ReadReceipt | undefined, deliveries: readonly DeliveryDocument[]): Step[] {
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
  return [...steps, ...endOf(job, receipt), ...chargeOf(job), ...deliveries.map(deliveryStep)];
}

/** What it came to, by its documents: the same for whoever has the receipt. */
function chargeOf({ charge, ended_at }: Job): Step[] {
  if (charge === null || ended_at === null) return [];
  return [
    {
      at: ended_at,
      icon: 'usage',
      title: 'Charge',
      text:
        charge.amount === 0
          ? 'Nothing: only what was confirmed is charged.'
          : `${money(charge.amount, charge.currency)}, by the price in its ticket.`,
    },
  ];
}

const DELIVERIES: Readonly<Record<DeliveryDocument['status'], string>> = {
  pending: 'Not delivered yet',
  delivered: 'Delivered',
  failed: 'Given up',
};

function deliveryStep(delivery: DeliveryDocument): Step {
  const { status, attempts, answered, problem } = delivery;
  const tries = `${exact(attempts)} ${attempts === 1 ? 'attempt' : 'attempts'}`;
  return {
    at: delivery.delivered_at ?? delivery.created_at,
    icon: 'webhooks',
    title: 'Webhook',
    aside: delivery.type,
    text: (
      <>
        {DELIVERIES[status]} after {tries}
        {answered === null ? '' : `, answered ${answered}`}, to <Name text={delivery.url} />.
        {status === 'delivered' || problem === null ? null : <b> {visibleLine(problem, 300)}</b>}
      </>
    ),
  };
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

/** What happened to a job and what is to come, step by step, with the documents that were signed. */
export function Timeline({
  job,
  receipt,
  deliveries,
}: {
  readonly job: Job;
  readonly receipt: ReadReceipt | undefined;
  readonly deliveries: readonly DeliveryDocument[];
}): JSX.Element {
  const steps = stepsOf(job, receipt, deliveries).toSorted(
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
