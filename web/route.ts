import { signal } from '@preact/signals';

/** Where the reader is: the parts of the path in the fragment, and what stands behind its question mark. */
export interface Place {
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
}

/** The place that a fragment names. */
export function placeOf(fragment: string): Place {
  const [path = '', query = ''] = fragment.replace(/^#?\/?/, '').split('?', 2);
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decoded);
  return { parts, query: new URLSearchParams(query) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a place, as a link has it. */
export function to(...parts: readonly string[]): string {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

export const place = signal<Place>(placeOf(''));

/** Follows the address of the page from here on. */
export function followAddress(): void {
  const look = () => {
    place.value = placeOf(location.hash);
    window.scrollTo(0, 0);
  };
  addEventListener('hashchange', look);
  look();
}

/** Goes to a place. */
export function go(...parts: readonly string[]): void {
  location.hash = to(...parts).slice(1);
}

/** Changes the question behind the path, without a new entry in the history of the browser. */
export function ask(query: Readonly<Record<string, string>>): void {
  const wanted = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ''));
  const [path = ''] = location.hash.split('?', 1);
  history.replaceState(null, '', `${path === '' ? '#/' : path}${wanted.size > 0 ? `?${wanted.toString()}` : ''}`);
  place.value = placeOf(location.hash);
}
