import type { JSX } from 'preact';

/** Outlines of 16 by 16, drawn in the colour of the text around them. */
const LINES = {
  overview: 'M2 2h5v6.5H2zM9 2h5v3.500H9zM2 11h5v3H2zM9 8h5v6H9z',
  jobs: 'M5.500 4h8M5.500 8h8M5.500 12h8M2.500 4h.01M2.500 8h.01M2.500 12h.01',
  workers:
    'M4 4h8v8H4zM6.500 1.800V4M9.500 1.800V4M6.500 12v2.200M9.500 12v2.200M1.800 6.500H4M1.800 9.500H4M12 6.500h2.200M12 9.500h2.200',
  log: 'M8 2v4M8 6 4.500 9.500M8 6l3.500 3.500M2.500 9.500h4v4h-4zM9.500 9.500h4v4h-4z',
  playground: 'M2.500 3.500h11v7.500H7l-3 2.500V11H2.500z',
  models: 'm8 2 6 3-6 3-6-3zM2 8l6 3 6-3M2 11l6 3 6-3',
  batches: 'M2 3h12v3H2zM2 8.500h12v3H2zM4 14h8',
  tenants:
    'M6 8a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zM1.800 13.500c.3-2.600 2-4 4.200-4s3.900 1.400 4.200 4M10.500 3.200a2.500 2.500 0 0 1 0 4.600M12 9.800c1.300.6 2 1.900 2.200 3.700',
  usage: 'M2.500 13.500h11M4.500 11V8M8 11V4M11.500 11V6.500',
  webhooks: 'M9.500 2.500 14 7l-4.500 4.500M14 7H6a4 4 0 0 0-4 4v2.500',
  memory: 'M3 2.500h10v11l-5-3-5 3zM5.500 5.500h5M5.500 8h5',
  audit: 'M4 1.800h6l2.500 2.500v9.900H4zM6 7h4.500M6 9.500h4.500M6 12h3',
  find: 'M7 11.300A4.300 4.300 0 1 0 7 2.700a4.300 4.300 0 0 0 0 8.600zM10.300 10.300l3.400 3.400',
  menu: 'M2.500 4.500h11M2.500 8h11M2.500 11.500h11',
  copy: 'M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3',
  eye: 'M1.500 8S4 3.500 8 3.500 14.500 8 14.500 8 12 12.500 8 12.500 1.500 8 1.500 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z',
  again: 'M13 8a5 5 0 1 1-1.500-3.500M13 2v3h-3',
  save: 'M8 2v8M4.800 7 8 10.200 11.200 7M3 13.500h10',
  close: 'm4 4 8 8M12 4l-8 8',
  tick: 'm3 8.500 3.200 3.200L13 4.800',
  plug: 'M5.500 2v3M10.500 2v3M3.500 5h9v2.500a4.500 4.500 0 0 1-9 0zM8 12v2.500',
  ticket: 'M4 1.800h6l2.500 2.500v9.900H4zM6 7h4.500M6 9.500h4.500',
  claim: 'M8 2v7M5 6.500 8 9.500l3-3M3.500 13h9',
  shield: 'M8 1.800 13 3.500v4c0 3-2 5.300-5 6.700-3-1.400-5-3.700-5-6.700v-4zM5.500 8l1.800 1.800L10.500 6.500',
  leave: 'M9.500 2.500h-7v11h7M6 8h8M11.500 5.500 14 8l-2.500 2.500',
  pause: 'M5.500 3.500v9M10.500 3.500v9',
} as const;
export type IconName = keyof typeof LINES;

/** A drawing beside a word; on its own it says nothing to a screen reader. */
export function Icon({ name }: { readonly name: IconName }): JSX.Element {
  return (
    <svg viewBox="0 0 16 16" class="ico" aria-hidden="true">
      <path d={LINES[name]} />
    </svg>
  );
}

/** States of jobs, workers and things to look at, each with an outline of its own. */
export type MarkName =
  | 'queued'
  | 'running'
  | 'attesting'
  | 'done'
  | 'rejected'
  | 'failed'
  | 'cancelled'
  | 'expired'
  | 'paused'
  | 'draining'
  | 'silent'
  | 'suspect';

const OCTAGON = 'M5.300 1h5.400L15 5.300v5.400L10.700 15H5.300L1 10.700V5.300z';

export function Mark({ of }: { readonly of: MarkName }): JSX.Element {
  return (
    <svg viewBox="0 0 16 16" class={`mark ${of}`} aria-hidden="true">
      {drawing(of)}
    </svg>
  );
}

function drawing(of: MarkName): JSX.Element {
  switch (of) {
    case 'queued':
      return <circle cx="8" cy="8" r="5.900" stroke-dasharray="2.200 2.440" />;
    case 'running':
      return (
        <>
          <circle cx="8" cy="8" r="6" />
          <path d="M8 4a4 4 0 0 1 0 8z" class="full" />
        </>
      );
    case 'attesting':
      return (
        <>
          <circle cx="8" cy="8" r="6" />
          <path d="M8 8V4a4 4 0 1 1-4 4z" class="full" />
        </>
      );
    case 'done':
      return (
        <>
          <circle cx="8" cy="8" r="7" class="full" />
          <path d="m4.800 8.300 2.200 2.200 4.300-4.700" class="cut" />
        </>
      );
    case 'rejected':
      return (
        <>
          <path d={OCTAGON} class="full" />
          <path d="m5.400 5.400 5.200 5.200M10.600 5.400l-5.200 5.200" class="cut" />
        </>
      );
    case 'failed':
    case 'suspect':
      return (
        <>
          <path d="M8 1.300 15 13.800H1z" class="full" />
          <path d="M8 5.800v3.700M8 11.800v.01" class="cut" />
        </>
      );
    case 'cancelled':
      return (
        <>
          <circle cx="8" cy="8" r="6" />
          <path d="m3.800 12.200 8.400-8.400" />
        </>
      );
    case 'expired':
      return (
        <>
          <circle cx="8" cy="8" r="6" />
          <path d="M8 4.500V8l2.500 1.500" />
        </>
      );
    case 'paused':
      return (
        <>
          <rect x="1.800" y="1.800" width="12.400" height="12.400" rx="2.500" />
          <path d="M6 5.200v5.600M10 5.200v5.600" />
        </>
      );
    case 'draining':
      return (
        <>
          <rect x="1.800" y="1.800" width="12.400" height="12.400" rx="2.500" />
          <path d="M8 4.500v6.500M5.500 8.500 8 11l2.500-2.500" />
        </>
      );
    case 'silent':
      return <rect x="1.800" y="1.800" width="12.400" height="12.400" rx="2.500" stroke-dasharray="2.500 2" />;
  }
}
