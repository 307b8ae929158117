import { parseArgs } from 'node:util';

/**
 * The options of this process: those that are named take a word, `flags` take none. `--help` says how it is
 * used and ends it, and so does a word that is none of them: a bench that was not meant takes minutes.
 */
export function readOptions(usage, { words, flags = [] }) {
  const options = Object.fromEntries([
    ...words.map((name) => [name, { type: 'string' }]),
    ...[...flags, 'help'].map((name) => [name, { type: 'boolean' }]),
  ]);
  try {
    const { values } = parseArgs({
      options,
      args: process.argv.slice(2).filter((word) => word !== 'overload' && word !== 'memory'),
    });
    if (values.help !== true) return values;
    process.stdout.write(`usage: ${usage}\n`);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`error: ${error.message}\nusage: ${usage}\n`);
    process.exit(2);
  }
}
