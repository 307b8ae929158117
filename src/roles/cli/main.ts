#!/usr/bin/env node
// What is asked for, and what is there, decide what is loaded. What callers do is in the one file that needs
// no package, and starts in half the time. The package that callers install has that file alone; the whole
// service is in a build of the repository.
import { existsSync } from 'node:fs';

/** Those of callers' commands that end soon; the others may check thousands of signatures by machine code. */
const OF_CALLERS: ReadonlySet<string> = new Set([
  ...['verify', 'submit', 'watch', 'get', 'why', 'list', 'cancel', 'erase', 'jobs', 'schedules', 'usage', 'link'],
]);

const words = process.argv.slice(2);
const command = words.find((word, at) => !word.startsWith('-') && words[at - 1] !== '--data');
const isWhole = existsSync(new URL('all-commands.js', import.meta.url));
if (isWhole && !OF_CALLERS.has(command ?? '')) await import('./all-commands.ts');
else await import(new URL('../../callers.mjs', import.meta.url).href);
