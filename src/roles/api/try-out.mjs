// The script of the page /docs: it sends the requests of the page from the page itself. The API key that is
// typed in stays in this page, is kept nowhere, and goes to this service alone; what is answered is shown as
// text, and never as a part of the page.

/** What is shown of an answer; more would only slow the page down. */
const MAX_SHOWN_CHARACTERS = 200_000;

const key = document.getElementById('key');
for (const form of document.querySelectorAll('form.try')) {
  form.closest('details').hidden = false;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void tryOut(form);
  });
}
key.closest('p').hidden = false;

async function tryOut(form) {
  const [send, stop] = ['send', 'stop'].map((name) => form.querySelector(`button.${name}`));
  const shown = form.querySelector('output');
  const ending = new AbortController();
  stop.onclick = () => ending.abort();
  [send.disabled, stop.hidden, shown.textContent] = [true, false, 'sent; waiting for an answer'];
  try {
    const { url, ...init } = requestOf(form);
    await show(shown, await fetch(url, { ...init, signal: ending.signal }));
  } catch (error) {
    const why = ending.signal.aborted ? 'stopped' : `no answer: ${error.message}`;
    shown.textContent = shown.dataset.begun === 'yes' ? `${shown.textContent}\n${why}` : why;
  } finally {
    [send.disabled, stop.hidden] = [false, true];
    delete shown.dataset.begun;
  }
}

/** The request as the form describes it: what is left empty is not sent. */
function requestOf(form) {
  const fields = (place) =>
    [...form.querySelectorAll(`[data-in="${place}"]`)]
      .map((field) => [field.name, field.type === 'file' ? field.files[0] : field.value])
      .filter(([, value]) => value !== '' && value !== undefined);
  const names = Object.fromEntries(fields('path'));
  // A tile of the log is named by a path of several parts.
  const path = form.dataset.path.replace(/\{(\w+)\}/g, (_, name) =>
    (names[name] ?? '').split('/').map(encodeURIComponent).join('/'),
  );
  const query = new URLSearchParams(fields('query')).toString();
  const headers = Object.fromEntries(fields('header'));
  if (form.dataset.scope !== undefined && key.value.trim() !== '') headers.authorization = `Bearer ${key.value.trim()}`;
  const init = { method: form.dataset.method.toUpperCase(), headers, credentials: 'omit', cache: 'no-store' };
  const [[, text] = []] = fields('body');
  if (text !== undefined) {
    headers['content-type'] = 'application/json';
    init.body = text;
  } else if (form.dataset.upload !== undefined) {
    init.body = new FormData();
    for (const [name, value] of fields('form')) init.body.append(name, value);
  }
  return { url: query === '' ? path : `${path}?${query}`, ...init };
}

/** The answer as it comes, so that a stream is seen while it runs. */
async function show(shown, answer) {
  const type = answer.headers.get('content-type') ?? '';
  const told = [...answer.headers].filter(([name]) => !['date', 'connection', 'keep-alive'].includes(name));
  const head = [`${answer.status} ${answer.statusText}`, ...told.map(([name, value]) => `${name}: ${value}`), '', ''];
  shown.textContent = head.join('\n');
  shown.dataset.begun = 'yes';
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (let piece = await reader?.read(); piece?.done === false; piece = await reader.read()) {
    text += piece.value;
    if (text.length > MAX_SHOWN_CHARACTERS) {
      await reader.cancel();
      shown.append(`${text.slice(0, MAX_SHOWN_CHARACTERS)}\n… the rest is not shown`);
      return;
    }
    if (type.startsWith('text/event-stream')) shown.append(piece.value);
  }
  if (!type.startsWith('text/event-stream')) shown.append(type.includes('json') ? indented(text) : text);
}

/** JSON over several lines; bytes that only claim to be JSON as they are. */
function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text;
  }
}
