#!/usr/bin/env node
// What is asked for decides what is loaded: `verify` is one file that needs no package, and everything else
// is the whole service.
const words = process.argv.slice(2);
const command = words.find((word, at) => !word.startsWith('-') && words[at - 1] !== '--data');
if (command === 'verify') await import(new URL('../../verify.mjs', import.meta.url).href);
else await import('./all-commands.ts');
