#!/usr/bin/env node
// What is asked for, and what is there, decide what is loaded. `verify` is in the one file that needs no
// package. The package that callers install has that file alone; the whole service is in a build of the
// repository.
import { existsSync } from 'node:fs';

const words = process.argv.slice(2);
const command = words.find((word, at) => !word.startsWith('-') && words[at - 1] !== '--data');
const isWhole = existsSync(new URL('all-commands.js', import.meta.url));
if (isWhole && command !== 'verify') await import('./all-commands.ts');
else await import(new URL('../../callers.mjs', import.meta.url).href);
