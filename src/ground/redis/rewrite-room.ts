/** So much of the machine's memory as Redis has may be taken besides, while a child of it writes the file. */
const COPIED_SHARE = 0.25;

/** What keeps a server from writing its append-only file anew now. */
export type RewriteHindrance = 'saving' | 'disk_full' | 'memory_short';

/**
 * What keeps a server from writing its append-only file anew, by its own INFO; undefined where nothing does.
 * Its child shares its memory, but for the pages that are written meanwhile, which Redis holds against no
 * limit.
 */
export function rewriteHindrance(info: ReadonlyMap<string, string>): RewriteHindrance | undefined {
  const number = (name: string) => Number(info.get(name) ?? 0);
  if (isSaving(info)) return 'saving';
  if (info.get('aof_last_write_status') === 'err') return 'disk_full';
  const machine = number('total_system_memory');
  if (machine > 0 && number('used_memory_rss') * (1 + COPIED_SHARE) > machine) return 'memory_short';
  return undefined;
}

/** Whether a server writes a snapshot or its append-only file anew, or will as soon as it can. */
export function isSaving(info: ReadonlyMap<string, string>): boolean {
  return ['rdb_bgsave_in_progress', 'aof_rewrite_in_progress', 'aof_rewrite_scheduled'].some(
    (name) => info.get(name) === '1',
  );
}
