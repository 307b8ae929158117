// Refuses comments that are wider than 110 columns, and lines of Lua, which no formatter wraps.
// `npm run check` runs it. A single word that does not fit, such as an address, may stand.
import { readFileSync, readdirSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { root } from './setup.mjs';

const MAX_COLUMNS = 110;
const FOLDERS = ['src', 'test', 'bench', 'scripts', 'examples'];
const KINDS = new Set(['.ts', '.mjs', '.cjs', '.lua']);

const inFolders = FOLDERS.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name)),
);
const atRoot = readdirSync(root).map((name) => join(root, name));
const wide = [...inFolders, ...atRoot].filter((path) => KINDS.has(extname(path))).flatMap(wideComments);

for (const line of wide) process.stderr.write(`${line}\n`);
if (wide.length > 0) process.stderr.write(`${wide.length} lines are wider than ${MAX_COLUMNS} columns\n`);
process.exitCode = wide.length > 0 ? 1 : 0;

/** The places in a file at which a comment is too wide, as `path:line: columns`. */
function wideComments(path) {
  const isLua = extname(path) === '.lua';
  let insideBlock = false;
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line, index) => {
      const isComment = isLua || insideBlock || /^\s*\/[/*]/.test(line) || /[;,{(\])}] \/[/*] /.test(line);
      if (/^\s*\/\*/.test(line)) insideBlock = true;
      if (line.includes('*/')) insideBlock = false;
      const columns = [...line].length;
      const isOneWord = /^\s*(\/\/|\*|--)?\s*\S+$/.test(line);
      if (!isComment || columns <= MAX_COLUMNS || isOneWord) return [];
      return [`${relative(root, path)}:${index + 1}: ${columns} columns`];
    });
}
