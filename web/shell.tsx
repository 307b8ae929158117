import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { awaySince, has, session, signOut } from './api.ts';
import { Brand } from './brand.tsx';
import { count, duration, moment } from './format.ts';
import { Icon, type IconName } from './icons.tsx';
import { STALE_MS, follow, now, tick, toldAt, workers } from './live.ts';
import { Name } from './parts.tsx';
import { Page } from './page.tsx';
import { go, place, to } from './route.ts';
import { changeTheme } from './theme.ts';

interface Section {
  readonly page: string;
  readonly label: string;
  readonly icon: IconName;
  readonly isThere: () => boolean;
  readonly count?: () => number | undefined;
}

const always = () => true;
const SECTIONS: readonly (readonly Section[])[] = [
  [
    { page: 'overview', label: 'Overview', icon: 'overview', isThere: () => has('operator') },
    {
      page: 'jobs',
      label: 'Jobs',
      icon: 'jobs',
      isThere: always,
      count: () => (has('operator') ? tick.value?.open : undefined),
    },
    {
      page: 'workers',
      label: 'Workers',
      icon: 'workers',
      isThere: () => has('operator'),
      count: () => workers.value.length,
    },
    { page: 'log', label: 'Log', icon: 'log', isThere: always },
    { page: 'playground', label: 'Playground', icon: 'playground', isThere: () => has('submit') },
  ],
  [
    { page: 'models', label: 'Models and pools', icon: 'models', isThere: always },
    { page: 'batches', label: 'Batches', icon: 'batches', isThere: always },
    { page: 'memory', label: 'Memory', icon: 'memory', isThere: () => session.value?.memory === true },
  ],
  [
    {
      page: 'tenants',
      label: 'Tenants and keys',
      icon: 'tenants',
      isThere: () => has('operator') || has('tenant_admin'),
    },
    { page: 'usage', label: 'Usage', icon: 'usage', isThere: always },
    { page: 'webhooks', label: 'Webhooks', icon: 'webhooks', isThere: () => has('tenant_admin') },
    { page: 'audit', label: 'Audit log', icon: 'audit', isThere: () => has('tenant_admin') || has('operator') },
  ],
];
/** The sections that the bar at the foot of a narrow screen has room for. */
const TABS = 4;

/** The page where somebody with these powers begins. */
export const home = (): string => (has('operator') ? 'overview' : 'jobs');

/** Everything around a page. */
export function Shell(): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const page = place.value.parts[0] ?? home();
  const main = useRef<HTMLElement>(null);
  useEffect(() => (has('operator') ? follow() : undefined), []);
  useEffect(() => setOpen(false), [place.value]);
  const shown = SECTIONS.map((group) => group.filter(({ isThere }) => isThere()));
  const tabs = shown.flat().slice(0, TABS);
  return (
    <div class="app">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to content
      </a>
      <aside class={`side${isOpen ? ' open' : ''}`} aria-label="Sections and account">
        <a class="brandlink" href="#/">
          <Brand />
        </a>
        <nav id="sections" aria-label="Sections">
          {shown.map((group) => (
            <ul key={group[0]?.page}>
              {group.map((section) => (
                <li key={section.page}>
                  <NavLink section={section} isHere={section.page === page} />
                </li>
              ))}
            </ul>
          ))}
        </nav>
        <Account />
      </aside>
      <div class="rest">
        <Top isOpen={isOpen} toggle={() => setOpen(!isOpen)} />
        <main id="main" tabIndex={-1} ref={main}>
          <Page name={page} />
        </main>
      </div>
      <nav class="tabs" aria-label="Main">
        {tabs.map((section) => (
          <NavLink key={section.page} section={section} isHere={section.page === page} />
        ))}
        <button type="button" aria-expanded={isOpen} aria-controls="sections" onClick={() => setOpen(!isOpen)}>
          <Icon name="menu" />
          More
        </button>
      </nav>
    </div>
  );
}

function NavLink({ section, isHere }: { readonly section: Section; readonly isHere: boolean }): JSX.Element {
  const number = section.count?.();
  return (
    <a href={to(section.page)} aria-current={isHere ? 'page' : undefined}>
      <Icon name={section.icon} />
      {section.label}
      {number === undefined || number === 0 ? null : <span class="count">{count(number)}</span>}
    </a>
  );
}

function Account(): JSX.Element {
  const { tenant = '', read_only: isReadOnly = false } = session.value ?? {};
  const role = has('operator') ? 'operator' : has('tenant_admin') ? 'administrator' : 'member';
  return (
    <div class="foot">
      <a href="/verify">Check a receipt</a>
      <a href="/docs">API documentation</a>
      <span>
        Signed in as{' '}
        <b>
          <Name text={tenant} />
        </b>
        , {role}
        {isReadOnly ? ', looking only' : ''}
      </span>
      <span>Times in {Intl.DateTimeFormat().resolvedOptions().timeZone}</span>
      <button type="button" class="btn tiny" onClick={() => void signOut()}>
        <Icon name="leave" />
        Sign out
      </button>
    </div>
  );
}

function Top({ isOpen, toggle }: { readonly isOpen: boolean; readonly toggle: () => void }): JSX.Element {
  return (
    <header class="top">
      <button
        type="button"
        class="iconbtn narrow"
        aria-label={isOpen ? 'Close menu' : 'Open menu'}
        aria-expanded={isOpen}
        aria-controls="sections"
        onClick={toggle}
      >
        <Icon name={isOpen ? 'close' : 'menu'} />
      </button>
      <Find />
      <div class="right">
        {has('operator') ? <Liveness /> : null}
        <button type="button" class="iconbtn" aria-label="Change between light and dark" onClick={changeTheme}>
          <svg viewBox="0 0 16 16" class="ico" aria-hidden="true">
            <circle cx="8" cy="8" r="5.800" />
            <path d="M8 2.200a5.800 5.800 0 0 1 0 11.600z" class="full" />
          </svg>
        </button>
      </div>
    </header>
  );
}

/** Finds a job by its id, from anywhere with the key `/`. */
function Find(): JSX.Element {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof HTMLElement && event.target.closest('input, textarea, select') !== null;
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      field.current?.focus();
    };
    addEventListener('keydown', listen);
    return () => removeEventListener('keydown', listen);
  }, []);
  return (
    <form
      class="find"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        const text = field.current?.value.trim() ?? '';
        if (text !== '') go('jobs', text);
      }}
    >
      <Icon name="find" />
      <input
        ref={field}
        type="search"
        aria-label="Find a job by its id"
        placeholder="Find a job by its id"
        spellcheck={false}
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

/** Whether what is shown is of this moment. */
function Liveness(): JSX.Element {
  const told = toldAt.value;
  const age = told === undefined ? undefined : now.value - told;
  const isLive = age !== undefined && age < STALE_MS;
  const since = awaySince.value;
  const words = isLive
    ? 'Live'
    : age !== undefined
      ? `Not live: told ${duration(Math.round(age / 1_000) * 1_000)} ago`
      : since !== undefined
        ? 'Not live: no answer'
        : 'Connecting …';
  return (
    <span class={`live${isLive ? '' : ' old'}`} role="status" aria-live={isLive ? 'off' : 'polite'}>
      <i />
      <span>{words}</span>
      {isLive && told !== undefined ? <span class="wide faint">· {moment(told)}</span> : null}
    </span>
  );
}
