import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { signIn } from '../api.ts';
import { Brand } from '../brand.tsx';
import { Problem } from '../parts.tsx';
import { go, place } from '../route.ts';

/** The sign-in: by an API key, or by a link that works once. */
export function Login(): JSX.Element {
  const [key, setKey] = useState('');
  const [isReadOnly, setReadOnly] = useState(false);
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const enter = (by: { key: string } | { link: string }) => {
    setBusy(true);
    setError(undefined);
    signIn(by, isReadOnly)
      .then(() => go(), setError)
      .finally(() => setBusy(false));
  };
  const link = place.value.parts[1];
  useEffect(() => {
    if (link === undefined) return;
    // The secret leaves the address before it can be copied or kept in a history.
    history.replaceState(null, '', '#/login');
    enter({ link });
  }, [link]);
  return (
    <main class="login" id="main">
      <Brand />
      <h1>Sign in</h1>
      <p class="soft">
        With an API key of this installation. It is sent to this service alone, and this page keeps nothing of it.
      </p>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          enter({ key: key.trim() });
        }}
      >
        <div class="field">
          <label for="key">API key</label>
          <input
            id="key"
            type="password"
            autocomplete="current-password"
            placeholder="csk_…"
            spellcheck={false}
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </div>
        <label class="check">
          <input type="checkbox" checked={isReadOnly} onChange={(event) => setReadOnly(event.currentTarget.checked)} />
          Only look: nothing can be changed in this session
        </label>
        {error === undefined ? null : <Problem error={error} />}
        <button type="submit" class="btn primary" disabled={isBusy}>
          {isBusy ? 'Signing in …' : 'Sign in'}
        </button>
      </form>
      <p class="small faint">
        No key at hand? On the machine that runs <code>npm start</code>, the key stands in the file that it names, and
        <code> countersign link</code> prints a link that signs in once.
      </p>
      <p class="small">
        <a href="/verify">Check a receipt</a> · <a href="/docs">API documentation</a>
      </p>
    </main>
  );
}
