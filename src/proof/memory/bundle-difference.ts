import { readBundle, type BundleReading, type Pieces } from './bundle-reader.ts';

/** How a memory of one bundle stands in another. */
export interface Difference {
  readonly id: string;
  readonly change: 'added' | 'gone' | 'changed' | 'removed' | 'back';
}

/**
 * What differs between two bundles, in the order of ids: memories that are only in the second or only in the
 * first, those whose entry or tombstone has another digest, and those that are a tombstone in the second
 * (`removed`) or in the first (`back`) only. Both are read as streams and verified by their digests.
 *
 * Throws BundleRefused.
 */
export async function* bundleDifference(before: Pieces, after: Pieces): AsyncGenerator<Difference> {
  const [a, b] = [recordsOf(before), recordsOf(after)];
  let [left, right] = [await next(a), await next(b)];
  while (left !== undefined || right !== undefined) {
    if (right === undefined || (left !== undefined && left.id < right.id)) {
      yield { id: left?.id ?? '', change: 'gone' };
      left = await next(a);
    } else if (left === undefined || right.id < left.id) {
      yield { id: right.id, change: 'added' };
      right = await next(b);
    } else {
      const change = changeOf(left, right);
      if (change !== undefined) yield { id: left.id, change };
      [left, right] = [await next(a), await next(b)];
    }
  }
}

interface RecordDigest {
  readonly id: string;
  readonly digest: string;
  readonly kind: 'entry' | 'tombstone';
}

function changeOf(left: RecordDigest, right: RecordDigest): Difference['change'] | undefined {
  if (left.kind !== right.kind) return right.kind === 'tombstone' ? 'removed' : 'back';
  return left.digest === right.digest ? undefined : 'changed';
}

async function next(records: AsyncGenerator<RecordDigest>): Promise<RecordDigest | undefined> {
  const step = await records.next();
  return step.done === true ? undefined : step.value;
}

async function* recordsOf(pieces: Pieces): AsyncGenerator<RecordDigest> {
  for await (const reading of readBundle(pieces)) {
    const record = recordOf(reading);
    if (record !== undefined) yield record;
  }
}

function recordOf(reading: BundleReading): RecordDigest | undefined {
  if (reading.kind === 'entry') return { id: reading.entry.id, digest: reading.digest, kind: reading.kind };
  if (reading.kind === 'tombstone') return { id: reading.tombstone.id, digest: reading.digest, kind: reading.kind };
  return undefined;
}
