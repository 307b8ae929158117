import type { JSX } from 'preact';
import type { Job } from '../../src/proof/contract/job.ts';
import { bytes } from '../format.ts';
import { Icon, Mark } from '../icons.tsx';
import { Panel, Signatures } from '../parts.tsx';
import type { ReadReceipt } from '../receipt.ts';
import { GAPS, PROOFS, saysOf } from '../words.ts';

/** What the receipt of a job proves, and what it does not. */
export function Receipt({
  job,
  receipt,
}: {
  readonly job: Job;
  readonly receipt: ReadReceipt | undefined;
}): JSX.Element {
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
