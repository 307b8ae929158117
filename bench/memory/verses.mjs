// Verses of two translations in the public domain, out of Debian's packages `sword-text-kjv` and
// `sword-text-web`: a module of the kind `zText` is one file of compressed blocks, a table of the blocks, and
// a table of the verses.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';

const BLOCK_BYTES = 12;
const VERSE_BYTES = 10;
/** The four gospels and the Acts: there, both count verses alike. */
const VERSES = 4_786;

/** The same verses of the King James Version and the World English Bible; undefined where one is missing. */
export function versePairs(folder) {
  const of = (name) => join(folder, 'modules', 'texts', 'ztext', name);
  const [kjv, web] = [of('engKJV2006eb'), of('engWEB2015eb')];
  if (!existsSync(kjv) || !existsSync(web)) return undefined;
  const [old, modern] = [versesOf(kjv), versesOf(web)];
  const pairs = [];
  for (let at = 0; at < old.length && pairs.length < VERSES; at += 1)
    if (old[at] !== '' && modern[at] !== '') pairs.push({ old: old[at], modern: modern[at] });
  return pairs;
}

function versesOf(folder) {
  const [blocks, verses, data] = ['nt.bzs', 'nt.bzv', 'nt.bzz'].map((name) => readFileSync(join(folder, name)));
  const opened = new Map();
  const texts = [];
  for (let at = 0; at + VERSE_BYTES <= verses.length; at += VERSE_BYTES) {
    const [block, start, length] = [verses.readUInt32LE(at), verses.readUInt32LE(at + 4), verses.readUInt16LE(at + 8)];
    if (!opened.has(block)) {
      const [from, size] = [0, 4].map((more) => blocks.readUInt32LE(block * BLOCK_BYTES + more));
      opened.set(block, length === 0 ? Buffer.alloc(0) : inflateSync(data.subarray(from, from + size)));
    }
    texts.push(plain(opened.get(block).toString('utf8', start, start + length)));
  }
  return texts;
}

/** The words of a verse, without its marks, notes and headings. */
function plain(osis) {
  return osis
    .replace(/<(note|title)\b[^>]*>.*?<\/\1>/gs, ' ')
    .replace(/<[^>]*>/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}
