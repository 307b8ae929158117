import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Job } from '../../src/proof/contract/job.ts';
import type { JobState } from '../../src/proof/contract/job-states.ts';
import { ask, may } from '../api.ts';
import { answerText } from '../answer.ts';
import { duration, visibleLine } from '../format.ts';
import { Icon, Mark } from '../icons.tsx';
import { useModels } from '../models.ts';
import { Command, Copy, Empty, Foreign, Head, JobStateMark, Name, Panel, Problem, WORDS } from '../parts.tsx';
import { inputOf } from '../question.ts';
import { to } from '../route.ts';

/** One question and what became of it. */
interface Turn {
  readonly job: string;
  readonly model: string;
  readonly question: string;
  readonly askedMs: number;
  readonly state: JobState;
  /** Provisional while it is written; confirmed once the job is done. */
  readonly text: string;
  /** Why an earlier answer was refuted, and that answer. */
  readonly refuted: { readonly text: string; readonly detail: string } | undefined;
  readonly endedMs: number | undefined;
  readonly detail: string;
}

const MAX_TURNS = 20;
const MAX_TEXT = 200_000;
const textIn = (data: Readonly<Record<string, unknown>>, name: string): string => {
  const value = data[name];
  return typeof value === 'string' ? value : '';
};

/** A turn after an event of its job. */
export function afterEvent(turn: Turn, type: string, data: Readonly<Record<string, unknown>>): Turn {
  if (type === 'chunk') return { ...turn, text: (turn.text + textIn(data, 'text')).slice(0, MAX_TEXT) };
  const state = textIn(data, 'state') as JobState;
  // Another attempt begins with nothing of the one before.
  if (state === 'queued' && data['why'] !== undefined)
    return { ...turn, state, text: '', refuted: { text: turn.text, detail: textIn(data, 'detail') } };
  return { ...turn, state };
}

/** Asks any model; an answer is provisional until an attestor has confirmed it. */
export function PlaygroundPage(): JSX.Element {
  const models = useModels().filter(({ tasks }) => tasks.some((task) => task !== 'embedding'));
  const [turns, setTurns] = useState<readonly Turn[]>([]);
  const [model, setModel] = useState('');
  const [question, setQuestion] = useState('');
  const [error, setError] = useState<unknown>();
  const sources = useRef(new Set<EventSource>());
  useEffect(() => () => sources.current.forEach((source) => source.close()), []);
  const chosen = models.find(({ id }) => id === model) ?? models[0];
  const change = (job: string, by: (turn: Turn) => Turn) =>
    setTurns((before) => before.map((turn) => (turn.job === job ? by(turn) : turn)));
  const submit = async () => {
    if (chosen === undefined || question.trim() === '') return;
    const task = chosen.tasks.includes('chat') ? 'chat' : 'completion';
    const request = { model: chosen.id, task, input: inputOf(task, question), params: { max_tokens: 256 } };
    const job = await ask<Job>('/v1/jobs', { method: 'POST', body: request });
    const turn: Turn = {
      ...{ job: job.id, model: chosen.id, question, askedMs: Date.now(), state: job.state, text: '' },
      ...{ refuted: undefined, endedMs: undefined, detail: '' },
    };
    setTurns((before) => [...before, turn].slice(-MAX_TURNS));
    setQuestion('');
    followJob(job.id, change, sources.current, setError);
  };
  const send = () => {
    setError(undefined);
    submit().catch(setError);
  };
  return (
    <>
      <Head title="Playground">
        Ask any model. An answer is provisional while it is being written and turns confirmed when an attestor has
        checked it.
      </Head>
      <div class="columns">
        <div>
          {turns.length === 0 ? (
            <Empty icon="playground" title="Nothing was asked yet">
              <p>Choose a model and ask. What you ask runs as a job of your key, and is charged like any other.</p>
            </Empty>
          ) : (
            <div class="stack" role="log" aria-label="Questions and answers">
              {turns.map((turn) => (
                <Exchange key={turn.job} turn={turn} />
              ))}
            </div>
          )}
          {error === undefined ? null : <Problem error={error} />}
          <form
            class="composer"
            onSubmit={(event) => {
              event.preventDefault();
              send();
            }}
          >
            <label class="hidden" for="question">
              Your question
            </label>
            <textarea
              id="question"
              placeholder="Ask something …"
              value={question}
              onInput={(event) => setQuestion(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
                event.preventDefault();
                send();
              }}
            />
            <div class="actions">
              <div class="field">
                <label for="ask-model">Model</label>
                <select
                  id="ask-model"
                  value={chosen?.id ?? ''}
                  onChange={(event) => setModel(event.currentTarget.value)}
                >
                  {models.map(({ id }) => (
                    <option key={id} value={id}>
                      {id}
                    </option>
                  ))}
                </select>
              </div>
              <button
                type="submit"
                class="btn primary"
                disabled={!may('submit') || question.trim() === '' || chosen === undefined}
              >
                Ask
              </button>
            </div>
            {may('submit') ? null : (
              <p class="small faint">You signed in to look only; asking needs another session.</p>
            )}
          </form>
        </div>
        <div>
          <Steps turn={turns.at(-1)} />
          <Panel title="If it is refuted">
            <p class="soft">
              The text is struck through and marked “refuted”, with the reason. Another worker tries, while attempts are
              left, and its answer takes the place of this one.
            </p>
          </Panel>
          <Panel title="The same by API">
            <Command
              text={`curl ${location.origin}/v1/chat/completions -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d '{"model":"${chosen?.id ?? 'MODEL'}","stream":true,"messages":[{"role":"user","content":"…"}]}'`}
            />
          </Panel>
        </div>
      </div>
    </>
  );
}

type Change = (job: string, by: (turn: Turn) => Turn) => void;

/** Follows a job to its end, and then takes the answer that was confirmed in place of what was written. */
function followJob(id: string, change: Change, sources: Set<EventSource>, fail: (error: unknown) => void): void {
  const source = new EventSource(`/v1/jobs/${id}/events`);
  sources.add(source);
  for (const type of ['chunk', 'state'] as const)
    source.addEventListener(type, (event: MessageEvent) => {
      const data: unknown = JSON.parse(String(event.data));
      if (typeof data !== 'object' || data === null) return;
      const fields: Readonly<Record<string, unknown>> = { ...data };
      change(id, (turn) => afterEvent(turn, type, fields));
      if (fields['code'] === undefined) return;
      source.close();
      sources.delete(source);
      finish(id, change).catch(fail);
    });
}

async function finish(id: string, change: Change): Promise<void> {
  const job = await ask<Job>(`/v1/jobs/${id}`);
  const text = job.links.output === null ? undefined : answerText(await ask(job.links.output));
  change(id, (turn) => ({
    ...turn,
    state: job.state,
    endedMs: job.ended_at === null ? Date.now() : Date.parse(job.ended_at),
    detail: job.reason?.detail ?? '',
    ...(text === undefined ? {} : { text }),
  }));
}

function Exchange({ turn }: { readonly turn: Turn }): JSX.Element {
  const { state, refuted, text, job, model, endedMs } = turn;
  const isOver = endedMs !== undefined;
  const look = state === 'done' && isOver ? 'confirmed' : state === 'rejected' ? 'refuted-text' : 'provisional';
  return (
    <div class="stack">
      <div class="asked">
        <Foreign text={turn.question} name="question" />
      </div>
      {refuted === undefined ? null : (
        <>
          <p class="small rejected">
            <b>Refuted, do not use:</b> {visibleLine(refuted.detail, 300)}
          </p>
          {refuted.text === '' ? null : (
            <div class="refuted-text">
              <Foreign text={refuted.text} name="refuted answer" />
            </div>
          )}
        </>
      )}
      <p class="small soft">
        <JobStateMark state={state} /> <Name text={model} />
      </p>
      <div class={look}>
        {text === '' ? (
          <p class="faint">{isOver ? visibleLine(turn.detail, 300) : '…'}</p>
        ) : (
          <Foreign text={text} name="answer" />
        )}
        <p class="small">
          {look === 'confirmed' ? (
            <>
              <b class="done">Confirmed</b> {duration(Math.max(0, (endedMs ?? 0) - turn.askedMs))} after it was asked ·{' '}
              <a href={`/v1/jobs/${job}/receipt`} download>
                Save the receipt
              </a>{' '}
              · <a href={to('jobs', job)}>See the job</a>
            </>
          ) : isOver ? (
            <>
              {WORDS[state]}. <a href={to('jobs', job)}>See why</a>
            </>
          ) : (
            <span class="attesting">
              Provisional: a worker wrote this and nobody has checked it yet. Do not act on it.
            </span>
          )}
        </p>
      </div>
    </div>
  );
}

const STEPS: readonly (readonly [state: JobState, words: string])[] = [
  ['queued', 'Ticket signed; it waits for a worker'],
  ['running', 'A worker writes the answer'],
  ['attesting', 'Evidence signed; an attestor checks it'],
  ['done', 'Confirmed, and in the log'],
];

function Steps({ turn }: { readonly turn: Turn | undefined }): JSX.Element {
  const at = STEPS.findIndex(([state]) => state === turn?.state);
  return (
    <Panel title="What happens now">
      <ul class="checks">
        {STEPS.map(([state, words], place) => (
          <li key={state} class={place > at ? 'faint' : ''}>
            {place < at || (place === at && state === 'done') ? (
              <span class="done">
                <Icon name="tick" />
              </span>
            ) : (
              <Mark of={place === at ? state : 'queued'} />
            )}
            <span>{words}</span>
          </li>
        ))}
      </ul>
      {turn === undefined ? null : <Copy text={turn.job} label="Copy the id of the job" />}
    </Panel>
  );
}
