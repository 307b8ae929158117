import type { JSX } from 'preact';

export const Brand = (): JSX.Element => (
  <span class="brand">
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <circle cx="10" cy="10" r="8.600" />
      <path d="m4.900 10.600 2.500 2.500 4.700-5.600M10 12.700l.4.400 4.700-5.600" />
    </svg>
    Countersign
  </span>
);
