import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { JobState } from '../src/proof/contract/job-states.ts';
import { Refused } from './api.ts';
import { exact, moment, shortId, visible, visibleLine } from './format.ts';
import { Icon, Mark, type IconName, type MarkName } from './icons.tsx';

/** The word for each state, as people say it. */
export const WORDS: Readonly<Record<JobState, string>> = {
  queued: 'Waiting',
  running: 'Running',
  attesting: 'Confirming',
  done: 'Confirmed',
  rejected: 'Refuted',
  failed: 'Failed',
  cancelled: 'Cancelled',
  expired: 'Expired',
};

export function State({ of, word }: { readonly of: MarkName; readonly word: string }): JSX.Element {
  return (
    <span class={`st ${of}`}>
      <Mark of={of} />
      {word}
    </span>
  );
}

export const JobStateMark = ({ state }: { readonly state: JobState }): JSX.Element => (
  <State of={state} word={WORDS[state]} />
);

/** Which of the three documents are signed: the ticket, the evidence, the verdict. */
export function Signatures({
  state,
  committed,
}: {
  readonly state: JobState;
  readonly committed: boolean;
}): JSX.Element {
  const verdict = state === 'done' ? 'good' : state === 'rejected' ? 'bad' : '';
  const words = `ticket signed${committed ? ', evidence signed' : ''}${
    verdict === 'good' ? ', confirmed' : verdict === 'bad' ? ', refuted' : ''
  }`;
  return (
    <svg viewBox="0 0 34 10" class="marks" role="img" aria-label={words}>
      <rect x="0.500" y="1.500" width="10" height="7" rx="1.500" class="signed" />
      <rect x="12" y="1.500" width="10" height="7" rx="1.500" class={committed ? 'signed' : 'open'} />
      <rect x="23.500" y="1.500" width="10" height="7" rx="1.500" class={verdict === '' ? 'open' : verdict} />
    </svg>
  );
}

interface PanelProps {
  readonly title: string;
  readonly aside?: ComponentChildren;
  readonly span?: 3 | 4 | 5 | 6 | 7 | 8 | 12;
  readonly children: ComponentChildren;
  readonly flush?: boolean;
}

/** A part of a page with a title of its own. */
export function Panel({ title, aside, span = 12, children, flush = false }: PanelProps): JSX.Element {
  return (
    <section class={`panel s${span}`}>
      <header>
        <h2>{title}</h2>
        {aside === undefined ? null : <span class="aside">{aside}</span>}
      </header>
      <div class={flush ? '' : 'in'}>{children}</div>
    </section>
  );
}

interface HeadProps {
  readonly title: ComponentChildren;
  readonly children?: ComponentChildren;
  readonly actions?: ComponentChildren;
}

/** What a page is about: its title, a sentence that answers its question, and what can be done. */
export function Head({ title, children, actions }: HeadProps): JSX.Element {
  return (
    <div class="head">
      <div>
        <h1>{title}</h1>
        {children === undefined ? null : <p>{children}</p>}
      </div>
      {actions === undefined ? null : <div class="actions">{actions}</div>}
    </div>
  );
}

/** Nothing is there, and what to do next. */
export function Empty(props: {
  readonly icon: IconName;
  readonly title: string;
  readonly children: ComponentChildren;
}): JSX.Element {
  return (
    <div class="empty">
      <Icon name={props.icon} />
      <p class="title">{props.title}</p>
      <div>{props.children}</div>
    </div>
  );
}

/** Something does not work, with what to do about it. */
export function Problem({ error, again }: { readonly error: unknown; readonly again?: () => void }): JSX.Element {
  const refused = error instanceof Refused ? error : undefined;
  return (
    <div class="note" role="alert">
      <Mark of="failed" />
      <div>
        <b>{refused?.message ?? 'This page made a mistake.'}</b>{' '}
        {refused === undefined ? (
          visibleLine(String(error))
        ) : (
          <>
            {refused.hint === undefined ? '' : `${sentence(refused.hint)} `}
            <code class="faint">{refused.code}</code>
          </>
        )}
      </div>
      {again === undefined ? null : (
        <button type="button" class="btn" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** Text of a stranger, in a block: as text, whatever it holds. */
export function Foreign({ text, name }: { readonly text: string; readonly name: string }): JSX.Element {
  const [isWhole, setWhole] = useState(false);
  const { text: shown, more } = visible(text, isWhole ? 200_000 : 4_000);
  return (
    <div class="foreign">
      <bdi>{shown}</bdi>
      {more > 0 ? (
        <p class="faint">
          … and {exact(more)} characters more{' '}
          {isWhole ? null : (
            <button type="button" class="btn tiny" onClick={() => setWhole(true)}>
              Show more of the {name}
            </button>
          )}
        </p>
      ) : null}
    </div>
  );
}

/** A name that somebody chose, on one line. */
export const Name = ({ text }: { readonly text: string }): JSX.Element => <bdi>{visibleLine(text, 80)}</bdi>;

/** A long id: short to read, whole to copy. */
export function Id({ id, href }: { readonly id: string; readonly href?: string }): JSX.Element {
  const short = <code title={id}>{visibleLine(shortId(id), 40)}</code>;
  return href === undefined ? short : <a href={href}>{short}</a>;
}

/** A moment, with the exact one on hover. */
export function Time({ at }: { readonly at: string | number | null }): JSX.Element {
  if (at === null) return <span class="faint">–</span>;
  return (
    <time
      dateTime={new Date(at).toISOString()}
      title={new Date(at).toLocaleString(undefined, { timeZoneName: 'short' })}
    >
      {moment(at)}
    </time>
  );
}

/** A button that copies a text, and says that it did. */
export function Copy({ text, label = 'Copy' }: { readonly text: string; readonly label?: string }): JSX.Element {
  const [said, say] = useState('');
  const copy = () =>
    void navigator.clipboard.writeText(text).then(
      () => say('Copied'),
      () => say('Not allowed by the browser'),
    );
  return (
    <button type="button" class="btn tiny" onClick={copy} aria-live="polite">
      <Icon name="copy" />
      {said === '' ? label : said}
    </button>
  );
}

/** A command for a terminal, to be copied: what a page may not do itself. */
export const Command = ({ text }: { readonly text: string }): JSX.Element => (
  <div class="command">
    <code>{text}</code>
    <Copy text={text} />
  </div>
);

interface ActProps {
  readonly label: string;
  readonly icon?: IconName;
  readonly primary?: boolean;
  readonly disabled?: boolean;
  readonly act: () => Promise<void>;
}

/** A button that does something on the server; it says what went wrong beside itself. */
export function Act({ label, icon, primary = false, disabled = false, act }: ActProps): JSX.Element {
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const run = () => {
    setBusy(true);
    setError(undefined);
    act()
      .catch(setError)
      .finally(() => setBusy(false));
  };
  return (
    <>
      <button type="button" class={`btn${primary ? ' primary' : ''}`} disabled={disabled || isBusy} onClick={run}>
        {icon === undefined ? null : <Icon name={icon} />}
        {label}
      </button>
      {error === undefined ? null : <Problem error={error} />}
    </>
  );
}

interface ConfirmProps {
  readonly label: string;
  readonly title: string;
  readonly children: ComponentChildren;
  readonly yes: string;
  readonly act: () => Promise<void>;
}

/** A button that asks first, in a dialogue that says what will happen. */
export function Confirm({ label, title, children, yes, act }: ConfirmProps): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const run = () => {
    setBusy(true);
    setError(undefined);
    act()
      .then(() => dialog.current?.close(), setError)
      .finally(() => setBusy(false));
  };
  return (
    <>
      <button type="button" class="btn" onClick={() => dialog.current?.showModal()}>
        {label} …
      </button>
      <dialog ref={dialog} aria-label={title} onClose={() => setError(undefined)}>
        <h2>{title}</h2>
        <div class="stack">{children}</div>
        {error === undefined ? null : <Problem error={error} />}
        <div class="actions">
          <button type="button" class="btn" onClick={() => dialog.current?.close()}>
            Leave it
          </button>
          <button type="button" class="btn primary" disabled={isBusy} onClick={run}>
            {yes}
          </button>
        </div>
      </dialog>
    </>
  );
}

/** What a page has loaded. */
export interface Loaded<Value> {
  readonly value: Value | undefined;
  readonly error: unknown;
  readonly again: () => void;
}

/**
 * Loads what a page shows, again whenever `names` change and, where it is given, every so many ms. What was
 * loaded stays while it is loaded anew; an error stands beside it.
 */
export function useLoad<Value>(
  load: (signal: AbortSignal) => Promise<Value>,
  names: readonly unknown[],
  everyMs?: number,
): Loaded<Value> {
  const [state, setState] = useState<{ value?: Value; error?: unknown }>({});
  const [turn, setTurn] = useState(0);
  useEffect(() => setState({}), names);
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const look = () => {
      load(stop.signal)
        .then(
          (value) => stop.signal.aborted || setState({ value }),
          (error: unknown) => stop.signal.aborted || setState((before) => ({ ...before, error })),
        )
        .finally(() => {
          if (everyMs !== undefined && !stop.signal.aborted) timer = window.setTimeout(look, everyMs);
        });
    };
    look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [...names, turn]);
  return { value: state.value, error: state.error, again: () => setTurn((before) => before + 1) };
}

/** What was loaded, or that it is being loaded, or why not. */
export function Show<Value>(props: {
  readonly loaded: Loaded<Value>;
  readonly children: (value: Value) => ComponentChildren;
}): JSX.Element {
  const { value, error, again } = props.loaded;
  return (
    <>
      {error === undefined ? null : <Problem error={error} again={again} />}
      {value !== undefined ? props.children(value) : error === undefined ? <p class="faint">Loading …</p> : null}
    </>
  );
}

interface Column<Row> {
  readonly name: string;
  readonly of: (row: Row) => ComponentChildren;
  readonly number?: boolean;
}

/** A table; on narrow screens each row folds into lines with the names of its columns. */
export function Table<Row>(props: {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
}): JSX.Element {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={props.caption}>
      <table>
        <caption class="hidden">{props.caption}</caption>
        <thead>
          <tr>
            {props.columns.map(({ name, number }) => (
              <th key={name} scope="col" class={number === true ? 'num' : ''}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row) => (
            <tr key={props.keyOf(row)}>
              {props.columns.map(({ name, of, number }) => (
                <td key={name} data-name={name} class={number === true ? 'num' : ''}>
                  {of(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Names and values. */
export const Facts = ({ of }: { readonly of: readonly (readonly [string, ComponentChildren])[] }): JSX.Element => (
  <dl class="facts">
    {of.map(([name, value]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </div>
    ))}
  </dl>
);
