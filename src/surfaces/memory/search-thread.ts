import { parentPort } from 'node:worker_threads';
import { OpenedOwner, type FoundMemory, type OwnerRow, type SearchAsk } from './opened-owner.ts';
import { openSegment, type SealedSegment } from './sealed-segments.ts';

/**
 * The program of the thread in which large owners are opened, scanned and ranked (search-thread-link.ts). It
 * has no database, no files and no keys but those it is sent with a segment, which it keeps for as long as
 * that takes.
 */

/** What the thread is asked. */
export type SearchCommand =
  | { readonly kind: 'take'; readonly row: OwnerRow; readonly key: Uint8Array; readonly segment: SealedSegment }
  | { readonly kind: 'behind'; readonly owner: string; readonly embedder: string }
  | { readonly kind: 'search'; readonly owner: string; readonly ask: SearchAsk }
  | { readonly kind: 'drop'; readonly owner: string }
  | { readonly kind: 'end' };

/** What it answers; `drop` and `end` have no answer. */
export interface SearchAnswers {
  /** How much of this process's memory the owner takes; undefined where the segment cannot be opened. */
  readonly take: number | undefined;
  /** Whether memories of the owner have vectors of another embedder. */
  readonly behind: boolean;
  readonly search: readonly FoundMemory[];
}

if (parentPort === null) throw new Error('Large owners are searched in a thread of the memory.');
const port = parentPort;
const owners = new Map<string, OpenedOwner>();

port.on('message', (command: SearchCommand) => {
  switch (command.kind) {
    case 'take':
      answer('take', take(command.row, command.key, command.segment));
      break;
    case 'behind':
      answer('behind', opened(command.owner).embeddedOtherwise(command.embedder, 1).length > 0);
      break;
    case 'search':
      answer('search', opened(command.owner).search(command.ask));
      break;
    case 'drop':
      drop(command.owner);
      break;
    case 'end':
      [...owners.keys()].forEach(drop);
      port.close();
  }
});

function answer<Kind extends keyof SearchAnswers>(_kind: Kind, value: SearchAnswers[Kind]): void {
  port.postMessage(value);
}

function drop(owner: string): void {
  owners.get(owner)?.wipe();
  owners.delete(owner);
}

function take(row: OwnerRow, key: Uint8Array, segment: SealedSegment): number | undefined {
  const held = openSegment(key, row, segment);
  key.fill(0);
  if (held === undefined) return undefined;
  const owner = owners.get(row.id) ?? new OpenedOwner(row, Buffer.alloc(0));
  owners.set(row.id, owner);
  for (const one of held) owner.put(one);
  return owner.bytes;
}

function opened(id: string): OpenedOwner {
  const owner = owners.get(id);
  if (owner === undefined) throw new Error('The owner was not given to this thread.');
  return owner;
}
