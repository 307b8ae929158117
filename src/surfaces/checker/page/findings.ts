import type { Examination } from '../examine.ts';
import { explain, type Explanation, type Point } from '../explain.ts';
import type { TranscriptLine } from '../transcript.ts';
import { byId, element, icon } from './elements.ts';

const RESULTS = {
  PASS: { picture: 'done', title: 'confirmed' },
  FAIL: { picture: 'refuted', title: 'refuted' },
  SKIP: { picture: 'skipped', title: 'over' },
} as const;

/** How each step is called, where it holds and where it fails, and the item that asks for it. */
const STEPS: Readonly<Record<TranscriptLine['step'], readonly [holds: string, fails: string, item: string]>> = {
  file: ['The file is one compact JSON receipt', 'The file is no receipt, or not as it was issued', '1'],
  signatures: [
    'Ticket and verdict are signed by keys of the keyring',
    'Ticket or verdict is not signed by a key of the keyring',
    '2',
  ],
  evidence: [
    'The evidence is signed by the worker that it names',
    'The evidence is not signed by the worker that it names',
    '3',
  ],
  binding: [
    'All three speak of the same job, attempt, model and answer',
    'The three documents do not belong together',
    '4',
  ],
  decision: ['The attestor confirmed it and refused nothing', 'The attestor did not confirm it', '5'],
  promises: ['What the ticket promised was done', 'What the ticket promised was not done', '6'],
  log: ['The verdict stands in the log', 'The verdict is not shown to stand in the log', '7'],
  input: ['Your question is the one that was asked', 'Your question is not the one that was asked', '8'],
  output: ['Your answer is the confirmed answer', 'Your answer is not the confirmed answer', '8'],
  checkpoint: ['You or your witness have seen the same log', 'The log has shown you another history', '9'],
  standing: ['The worker’s key is not known to be stolen', 'The worker’s key does not count', ''],
};

const clock = (iso: string): string =>
  new Intl.DateTimeFormat(undefined, {
    ...{ day: 'numeric', month: 'long', year: 'numeric' },
    ...{ hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short' },
  }).format(new Date(iso));

/** Draws what an examination found; `save` is called for its JSON, `link` for a link to its receipt. */
export function drawFindings(
  examination: Examination,
  actions: { readonly save: () => void; readonly link: (button: HTMLButtonElement) => void },
): void {
  const { answer } = examination;
  const explanation = explain(examination, clock);
  const lines = linesPanel(answer.transcript, actions);
  const pair = pairOf(explanation, answer.verified);
  byId('findings').replaceChildren(
    verdictBox(explanation, answer.transcript, answer.verified),
    ...(answer.trust.from === 'first use' ? [firstUse()] : []),
    // What failed stands before what it still means.
    ...(answer.verified ? [pair, lines] : [lines, pair]),
    ...(explanation.documents === undefined ? [] : [documentsPanel(explanation.documents)]),
    element('p', { class: 'trust' }, element('b', {}, 'Trust'), ` ${answer.trust.sentence}.`),
  );
}

/** Draws why nothing could be verified, or what is still missing. */
export function drawNote(title: string, text: string, isBad: boolean): void {
  say(`${title} ${text}`);
  byId('findings').replaceChildren(
    element(
      'div',
      { class: isBad ? 'note bad' : 'note plain' },
      icon(isBad ? 'refuted' : 'info'),
      element('div', {}, element('b', {}, title), ` ${text}`),
    ),
  );
}

/** What a screen reader says when something was found. */
function say(words: string): void {
  byId('said').replaceChildren(element('span', {}, words));
}

function verdictBox(explanation: Explanation, transcript: readonly TranscriptLine[], isVerified: boolean): Node {
  const count = (result: TranscriptLine['result']) => transcript.filter((line) => line.result === result).length;
  const [pass, fail] = [`${count('PASS')} pass`, `${count('FAIL')} fail`];
  const tally = [...(isVerified ? [pass, fail] : [fail, pass]), `${count('SKIP')} skipped`];
  say(`${explanation.title}. ${tally.join(', ')}.`);
  return element(
    'div',
    { class: isVerified ? 'verdict confirmed' : 'verdict refuted' },
    icon(isVerified ? 'done' : 'refuted'),
    element('div', {}, element('h2', {}, explanation.title), element('p', {}, explanation.sentence)),
    element('p', { class: 'tally' }, ...tally.map((words) => element('span', {}, words))),
  );
}

function firstUse(): Node {
  return element(
    'div',
    { class: 'note' },
    icon('warning'),
    element(
      'div',
      {},
      element('b', {}, 'Trusted on first use.'),
      ' This keyring comes from the service whose receipt you check. It shows that the service has not changed its mind, not that it is who it says. Give a keyring that you got in another way to replace it.',
    ),
  );
}

function pairOf({ proves, doesNotProve }: Explanation, isVerified: boolean): Node {
  const section = (title: string, picture: string, colour: string, points: readonly Point[]) =>
    element(
      'section',
      {},
      element('h3', {}, element('span', { class: colour }, icon(picture)), title),
      element('ul', {}, ...points.map(pointLine)),
    );
  return element(
    'div',
    { class: 'pair' },
    section(
      isVerified ? 'What this proves' : 'What this still proves',
      isVerified ? 'done' : 'info',
      isVerified ? 'confirmed' : '',
      proves,
    ),
    section('What this does not prove', 'caution', '', doesNotProve),
  );
}

function pointLine({ title, text, codes = [] }: Point): Node {
  return element('li', {}, element('b', {}, title), `${text} `, ...codes.map((code) => element('code', {}, code)));
}

function linesPanel(transcript: readonly TranscriptLine[], { save, link }: Parameters<typeof drawFindings>[1]): Node {
  const button = (words: string, act: (button: HTMLButtonElement) => void) => {
    const made = element('button', { type: 'button' }, words);
    made.addEventListener('click', () => act(made));
    return made;
  };
  const failed = transcript.filter(({ result }) => result === 'FAIL');
  const others = transcript.filter(({ result }) => result !== 'FAIL');
  return element(
    'section',
    { class: 'panel' },
    element('header', {}, element('h3', {}, 'Line by line'), button('Copy link', link), button('Save as JSON', save)),
    element('ol', { class: 'lines' }, ...[...failed, ...others].map(transcriptLine)),
  );
}

function transcriptLine({ result, step, sentence, note }: TranscriptLine): Node {
  const { picture, title } = RESULTS[result];
  const [holds, fails, item] = STEPS[step];
  const skip = result === 'SKIP' ? ' A skip is not a pass.' : '';
  return element(
    'li',
    { 'data-step': step },
    element('span', { class: `result ${title}` }, icon(picture), result),
    element(
      'div',
      {},
      element('b', {}, result === 'FAIL' ? fails : holds),
      ...(note === undefined
        ? []
        : [
            element('p', {}, `${note.charAt(0).toUpperCase()}${note.slice(1)}${/[.?!]$/.test(note) ? '' : '.'}${skip}`),
          ]),
      element('p', { class: 'sentence' }, sentence),
    ),
    element('span', { class: 'section' }, item === '' ? 'receipt-format' : `receipt-format, ${item}`),
  );
}

function documentsPanel({ ticket, evidence, verdict }: NonNullable<Explanation['documents']>): Node {
  const section = (title: string, picture: string, text: string) =>
    element('section', {}, element('h4', {}, icon(picture), title), element('p', {}, text));
  return element(
    'section',
    { class: 'panel' },
    element('header', {}, element('h3', {}, 'The three documents, in plain words')),
    element(
      'div',
      { class: 'documents' },
      section('Ticket', 'ticket', ticket),
      section('Evidence', 'evidence', evidence),
      section('Verdict', 'verdict', verdict),
    ),
  );
}
