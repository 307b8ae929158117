import { signal } from '@preact/signals';

/** Light or dark as the reader has chosen, or as their system has it. */
export type Theme = 'light' | 'dark' | 'system';
const NAME = 'countersign-theme';

const stored = (): Theme => {
  const text = localStorage.getItem(NAME);
  return text === 'light' || text === 'dark' ? text : 'system';
};

export const theme = signal<Theme>(stored());

/** Shows the page in the theme that was chosen. */
export function applyTheme(): void {
  if (theme.value === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme.value;
}

/** Goes on to the other theme, and keeps that in this browser. */
export function changeTheme(): void {
  const isDark =
    theme.value === 'dark' || (theme.value === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
  theme.value = isDark ? 'light' : 'dark';
  localStorage.setItem(NAME, theme.value);
  applyTheme();
}
