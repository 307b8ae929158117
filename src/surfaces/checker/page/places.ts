import type { Kind } from '../recognise.ts';
import { byId, element, icon } from './elements.ts';
import type { Given, Holdings } from './given.ts';

/** A place of the page that takes files. */
interface Place {
  readonly title: string;
  readonly picture: string;
  readonly kinds: readonly Kind[];
  readonly empty: string;
}

const PLACES: readonly Place[] = [
  { title: 'Receipt', picture: 'receipt', kinds: ['receipt'], empty: 'The file that you want to check' },
  {
    title: 'Keyring',
    picture: 'key',
    kinds: ['keyring', 'policy'],
    empty: 'Whose signatures you trust, and which log',
  },
  {
    title: 'Answer',
    picture: 'answer',
    kinds: ['output', 'response', 'batch'],
    empty: 'The one you got: output, response, or file of a batch',
  },
  {
    title: 'Question',
    picture: 'question',
    kinds: ['input', 'request'],
    empty: 'The one you sent: input or request, as JSON',
  },
  {
    title: 'Log',
    picture: 'more',
    kinds: ['checkpoint', 'workers'],
    empty: 'A checkpoint that you or a witness kept; the newest list of workers',
  },
];

const WORDS: Readonly<Record<Kind, string>> = {
  receipt: 'receipt',
  keyring: 'keyring',
  policy: 'log policy',
  output: 'output',
  response: 'response',
  batch: 'file of a batch',
  input: 'input',
  request: 'request',
  checkpoint: 'checkpoint',
  workers: 'list of workers',
};

/** The kind of a file in the place where somebody put it: what it says of itself, if the place takes that. */
export function kindAt(place: number, said: Kind): Kind {
  const kinds = PLACES[place]?.kinds ?? [];
  return kinds.includes(said) ? said : (kinds[0] ?? said);
}

/**
 * Draws the places where files go. `choose` is told of files that were chosen at a place, `drop` which kind
 * goes again.
 */
export function drawPlaces(
  holdings: Holdings,
  choose: (files: readonly File[], place: number) => void,
  drop: (kind: Kind) => void,
): void {
  byId('places').replaceChildren(
    ...PLACES.map((place, at) => {
      const held = place.kinds.flatMap((kind) => {
        const given = holdings.get(kind);
        return given === undefined ? [] : [heldLine(kind, given, place.kinds.length > 1, drop)];
      });
      return element(
        'li',
        { class: held.length === 0 ? 'place' : 'place has' },
        chooser(place, at, choose),
        ...(held.length === 0 ? [element('p', {}, place.empty)] : held),
      );
    }),
  );
}

function chooser({ title, picture }: Place, at: number, choose: (files: readonly File[], place: number) => void): Node {
  const input = element('input', { type: 'file', multiple: '', class: 'hidden', id: `place-${at}` });
  input.addEventListener('change', () => choose([...(input.files ?? [])], at));
  return element(
    'label',
    { for: `place-${at}` },
    icon(picture),
    element('b', {}, title),
    input,
    element('span', { class: 'choose' }, 'Choose'),
  );
}

function heldLine(kind: Kind, { name, bytes }: Given, isNamed: boolean, drop: (kind: Kind) => void): Node {
  const away = element(
    'button',
    { type: 'button', class: 'away', 'aria-label': `Take away ${WORDS[kind]}` },
    icon('cross'),
  );
  away.addEventListener('click', () => drop(kind));
  const what = `${isNamed ? `${WORDS[kind]}: ` : ''}${name}, ${bytes.length.toLocaleString('en')} bytes`;
  return element('p', {}, element('span', {}, what), away);
}
