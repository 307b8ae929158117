import { describe, expect, test } from '@jest/globals';
import { rewriteHindrance } from './rewrite-room.ts';

const GIB = 1_073_741_824;
const server = (facts: Record<string, string | number> = {}) =>
  new Map(
    Object.entries({
      rdb_bgsave_in_progress: '0',
      aof_rewrite_in_progress: '0',
      aof_rewrite_scheduled: '0',
      aof_last_write_status: 'ok',
      used_memory_rss: 6 * GIB,
      total_system_memory: 8 * GIB,
      ...facts,
    }).map(([name, value]) => [name, String(value)]),
  );

describe('rewriteHindrance', () => {
  test('nothing hinders a server that is idle and has room', () => {
    expect(rewriteHindrance(server())).toBeUndefined();
    expect(rewriteHindrance(server({ total_system_memory: 0 }))).toBeUndefined();
    expect(rewriteHindrance(new Map())).toBeUndefined();
  });

  test.each(['rdb_bgsave_in_progress', 'aof_rewrite_in_progress', 'aof_rewrite_scheduled'])(
    'a server with %s is left alone',
    (name) => {
      expect(rewriteHindrance(server({ [name]: 1 }))).toBe('saving');
    },
  );

  test('a full disk and a machine without a quarter more memory hinder', () => {
    expect(rewriteHindrance(server({ aof_last_write_status: 'err' }))).toBe('disk_full');
    expect(rewriteHindrance(server({ used_memory_rss: 7 * GIB }))).toBe('memory_short');
  });
});
