import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { Job } from '../../src/proof/contract/job.ts';
import { ask, send } from '../api.ts';
import { answerText } from '../answer.ts';
import { Act, Empty, Foreign, Id, JobStateMark, Panel } from '../parts.tsx';
import { to } from '../route.ts';
import { inputOf } from '../question.ts';

const WAIT_S = 60;

/** The hex SHA-256 of a text. */
async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

interface Result {
  readonly again: Job;
  readonly isSame: boolean | undefined;
  readonly texts: readonly [string, string] | undefined;
}

/** Submits the same request anew and compares the answers. */
async function runAgain(job: Job, question: string): Promise<Result> {
  const input: unknown = inputOf(job.task, question);
  const request = { model: job.model, task: job.task, input, params: job.params, attestation: job.attestation };
  const { id } = await ask<Job>('/v1/jobs', { method: 'POST', body: request });
  let again = await ask<Job>(`/v1/jobs/${id}`);
  for (const until = Date.now() + WAIT_S * 1_000; again.ended_at === null && Date.now() < until;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    again = await ask<Job>(`/v1/jobs/${id}`);
  }
  if (again.links.output === null || job.links.output === null) return { again, isSame: undefined, texts: undefined };
  const [before, after] = await Promise.all(
    [job.links.output, again.links.output].map((path) => send(path).then((answer) => answer.text())),
  );
  return {
    again,
    isSame: before === after,
    texts: [answerText(JSON.parse(before ?? '')), answerText(JSON.parse(after ?? ''))],
  };
}

/**
 * Runs a job again. The service does not keep what was asked, so that it has to be given; whether it is the
 * same is told by the digest in the ticket.
 */
export function Again({
  job,
  inputSha256,
}: {
  readonly job: Job;
  readonly inputSha256: string | undefined;
}): JSX.Element {
  const [question, setQuestion] = useState('');
  const [isKnown, setKnown] = useState<boolean>();
  const [result, setResult] = useState<Result>();
  const type = (text: string) => {
    setQuestion(text);
    setKnown(undefined);
    if (inputSha256 !== undefined && text !== '')
      void sha256(JSON.stringify(inputOf(job.task, text))).then((digest) => setKnown(digest === inputSha256));
  };
  return (
    <Panel title="Run again and compare">
      <div class="stack">
        <p class="small soft">
          Of what a done job asked, this service keeps the digest alone. Give the question again: a new job asks it with
          the same parameters, and the two answers are compared byte by byte.
        </p>
        <div class="field">
          <label for="again">The question</label>
          <textarea id="again" rows={3} value={question} onInput={(event) => type(event.currentTarget.value)} />
          <small aria-live="polite">
            {isKnown === undefined
              ? ''
              : isKnown
                ? 'It is the question of the ticket.'
                : 'It is not the question of the ticket: its digest is another.'}
          </small>
        </div>
        <Act
          label="Run again"
          icon="again"
          disabled={question === ''}
          act={async () => setResult(await runAgain(job, question))}
        />
        {result === undefined ? null : <Compared {...result} />}
      </div>
    </Panel>
  );
}

function Compared({ again, isSame, texts }: Result): JSX.Element {
  return (
    <div aria-live="polite">
      <p>
        <JobStateMark state={again.state} /> <Id id={again.id} href={to('jobs', again.id)} />
      </p>
      {isSame === undefined ? (
        <Empty icon="find" title="There are no two answers to compare">
          <p>One of the two jobs has no confirmed answer.</p>
        </Empty>
      ) : (
        <p>
          <b>{isSame ? 'Both answers are the same bytes.' : 'The answers differ.'}</b>
        </p>
      )}
      {texts === undefined || isSame === true ? null : (
        <>
          <h3>Before</h3>
          <Foreign text={texts[0]} name="first answer" />
          <h3>Now</h3>
          <Foreign text={texts[1]} name="second answer" />
        </>
      )}
    </div>
  );
}
