/** A checkpoint of the log as its signed note says it (C2SP tlog-checkpoint). */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
  /** The names of those who have signed, the log's own first. */
  readonly signers: readonly string[];
}

/** Reads a checkpoint; its signatures are not verified here. Undefined for what is none. */
export function readCheckpoint(note: string): Checkpoint | undefined {
  const [body = '', signatures = ''] = note.split('\n\n', 2);
  const [origin = '', size = '', root = ''] = body.split('\n');
  if (origin === '' || root === '' || !/^\d{1,16}$/.test(size)) return undefined;
  const signers = [...signatures.matchAll(/^— (\S+) \S+$/gm)].map(([, name]) => name ?? '');
  return { origin, size: Number(size), root, signers };
}
