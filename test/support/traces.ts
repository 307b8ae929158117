import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { IS_LONG } from './thorough.ts';

/** Bytes within which the pieces of a text would stand, in an index or cut up by a page. */
const WINDOW_BYTES = 512;

/**
 * The files that hold a text, or these bytes besides: as it is, as base64 at any offset, or half of its
 * groups of three characters near to each other.
 */
export function tracesOf(folder: string, text: string, others: readonly Buffer[] = []): string[] {
  const needles = [
    text,
    ...[0, 1, 2].map((skip) =>
      Buffer.from(text.slice(skip, text.length - ((text.length - skip) % 3))).toString('base64'),
    ),
    ...others,
  ];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .filter((path) => {
      const bytes = readFileSync(path);
      return needles.some((needle) => bytes.includes(needle)) || (IS_LONG && hasPieces(bytes, text));
    });
}

/** Whether half of the groups of three characters of a text stand within one window of these bytes. */
function hasPieces(bytes: Buffer, text: string): boolean {
  const pieces = [...new Set(Array.from({ length: text.length - 2 }, (_, at) => text.slice(at, at + 3)))];
  const found = pieces.flatMap((piece, number) => {
    const places: { at: number; number: number }[] = [];
    for (let at = bytes.indexOf(piece); at >= 0; at = bytes.indexOf(piece, at + 1)) places.push({ at, number });
    return places;
  });
  found.sort((a, b) => a.at - b.at);
  return found.some(({ at }, from) => {
    const near = new Set<number>();
    for (let next = from; (found[next]?.at ?? Infinity) < at + WINDOW_BYTES; next += 1)
      near.add(found[next]?.number ?? 0);
    return near.size * 2 >= pieces.length;
  });
}
