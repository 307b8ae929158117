import './no-eval.ts';
import { CodedError, messageOf } from '../../../ground/errors/coded-error.ts';
import { Keyring, KeyringFile } from '../../../proof/receipts/keyring.ts';
import { examine, type Answer } from '../examine.ts';
import { recognise, type Kind } from '../recognise.ts';
import { trustInGiven, trustOnFirstUse, type Trusted } from '../trust.ts';
import { byId, element } from './elements.ts';
import { drawFindings, drawNote } from './findings.ts';
import { Holdings, linkTo, receiptIn, type Given } from './given.ts';
import { drawPlaces, kindAt } from './places.ts';

/** A file that is longer than the longest that is compared is not read into memory. */
const MAX_FILE_BYTES = 256 * 1_048_576;
const holdings = new Holdings();

/** The keyring that came with the page, where a service served it. */
const brought = document.documentElement.dataset['keyring'];

function trustedNow(): Trusted | undefined {
  const given = holdings.get('keyring');
  const text = given === undefined ? (brought ?? '') : new TextDecoder().decode(given.bytes);
  if (given === undefined && text === '') return undefined;
  const trust = given === undefined ? trustOnFirstUse(location.origin) : trustInGiven(given.name);
  const policy = holdings.bytesOf('policy');
  const keyring = keyringOf(text, given?.name ?? location.origin);
  return {
    ...trust,
    keyring: policy === undefined ? keyring : keyring.withLogPolicy(new TextDecoder().decode(policy)),
  };
}

function keyringOf(text: string, name: string): Keyring {
  try {
    return new Keyring(KeyringFile.parse(JSON.parse(text)));
  } catch (cause) {
    throw new CodedError('key_file_unfit', `${name} is not a keyring: ${messageOf(cause).slice(0, 300)}`, { cause });
  }
}

/** Verifies what the page holds, and draws what was found. */
function check(): void {
  drawPlaces(
    holdings,
    (files, place) => void take(files, (said) => kindAt(place, said)),
    (kind) => {
      holdings.put(kind, undefined);
      check();
    },
  );
  const receipt = holdings.get('receipt');
  try {
    const trusted = trustedNow();
    if (receipt === undefined)
      drawNote('No receipt yet.', 'Drop one anywhere on this page, choose a file, or paste its text.', false);
    else if (trusted === undefined)
      drawNote(
        'No keyring yet.',
        'It says whose signatures you trust. Get it once, in a way that you trust, from the operator or from /.well-known/countersign.json of the service.',
        false,
      );
    else examineNow(receipt, trusted);
  } catch (error) {
    drawNote('Nothing was verified.', messageOf(error), true);
  }
}

function examineNow(receipt: Given, trusted: Trusted): void {
  const held = (kind: Kind) => holdings.bytesOf(kind);
  const examination = examine(receipt.bytes, trusted, {
    ...{ input: held('input'), request: held('request'), output: held('output'), response: held('response') },
    ...{ batch: held('batch'), checkpoint: held('checkpoint'), workers: held('workers') },
  });
  drawFindings(examination, {
    save: () => save(examination.answer),
    link: (button) => void copyLink(receipt, button),
  });
}

/** Saves the line that `countersign verify --json` prints. */
function save(answer: Answer): void {
  const url = URL.createObjectURL(new Blob([`${JSON.stringify(answer)}\n`], { type: 'application/json' }));
  const link = element('a', { href: url, download: 'verification.json' });
  link.click();
  URL.revokeObjectURL(url);
}

/** The link is in the address of the page too, for browsers that let no page write to the clipboard. */
async function copyLink(receipt: Given, button: HTMLButtonElement): Promise<void> {
  const link = linkTo(location.href, receipt.bytes);
  history.replaceState(undefined, '', link);
  button.textContent = await navigator.clipboard.writeText(link).then(
    () => 'Link copied',
    () => 'Link is in the address',
  );
}

/** Takes files in, each as what it says it is, or as what `kindOf` makes of that. */
async function take(files: readonly File[], kindOf: (said: Kind) => Kind): Promise<void> {
  for (const file of files) {
    if (file.size > MAX_FILE_BYTES) {
      drawNote('Nothing was verified.', `${file.name} is longer than anything that is compared here.`, true);
      return;
    }
    put({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) }, kindOf);
  }
  check();
}

function put(given: Given, kindOf: (said: Kind) => Kind): void {
  holdings.put(kindOf(recognise(given.bytes)), given);
}

const asSaid = (said: Kind): Kind => said;

document.addEventListener('dragover', (event) => {
  event.preventDefault();
  document.body.classList.add('over-page');
});
for (const name of ['dragleave', 'drop', 'dragend'])
  document.addEventListener(name, () => document.body.classList.remove('over-page'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  void take([...(event.dataTransfer?.files ?? [])], asSaid);
});
byId('paste').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = byId('pasted');
  if (!(field instanceof HTMLTextAreaElement) || field.value === '') return;
  put({ name: 'pasted', bytes: pastedBytes(field.value) }, asSaid);
  field.value = '';
  check();
});

/** A receipt ends with a line feed, which is easily lost when text is marked and copied. */
function pastedBytes(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  if (recognise(bytes) !== 'receipt') return bytes;
  return new TextEncoder().encode(`${text.replace(/[\r\n]+$/, '')}\n`);
}

const takeFragment = (): void => {
  const given = receiptIn(location.hash);
  if (given !== undefined) holdings.put('receipt', given);
  check();
};
window.addEventListener('hashchange', takeFragment);
takeFragment();
