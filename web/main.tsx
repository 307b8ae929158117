import { render, type JSX } from 'preact';
import { findSession, session } from './api.ts';
import { Problem } from './parts.tsx';
import { Login } from './pages/login.tsx';
import { Shell } from './shell.tsx';
import { followAddress, place } from './route.ts';
import { applyTheme } from './theme.ts';

function App(): JSX.Element {
  const { value } = session;
  if (value === undefined) return <p class="faint center">Loading …</p>;
  return value === null || place.value.parts[0] === 'login' ? <Login /> : <Shell />;
}

applyTheme();
followAddress();
const root = document.getElementById('app');
if (root === null) throw new Error('The page has no place for the dashboard.');
const begin = () => {
  findSession().then(
    () => render(<App />, root),
    (error: unknown) => render(<Problem error={error} again={begin} />, root),
  );
};
begin();
