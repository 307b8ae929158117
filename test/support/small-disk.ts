import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemCodeOf } from '../../src/ground/errors/coded-error.ts';

/** A file system of its own in memory, which a test can fill. */
export interface SmallDisk {
  readonly folder: string;
  /** Takes all the room that is left. */
  fill(): void;
  /** Gives that room back. */
  empty(): void;
  remove(): Promise<void>;
}

/**
 * A file system of so many bytes; undefined where this machine mounts none for us. It is mounted by a process
 * in a name space of its own, and reached through that process: no other sees it, and it goes with it.
 */
export async function smallDisk(bytes: number): Promise<SmallDisk | undefined> {
  const place = mkdtempSync(join(tmpdir(), 'cs-disk-'));
  const mount = `mount -t tmpfs -o size=${bytes} tmpfs ${place} && echo mounted && exec cat`;
  const holder = spawn('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', mount], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const exited = new Promise<undefined>((resolve) => {
    holder.once('error', () => resolve(undefined));
    holder.once('exit', () => resolve(undefined));
  });
  const mounted = once(holder.stdout, 'data').then(() => true);
  if ((await Promise.race([mounted, exited])) === undefined) {
    rmSync(place, { recursive: true });
    return undefined;
  }
  const folder = join('/proc', String(holder.pid), 'root', place);
  const ballast = join(folder, 'ballast');
  return {
    folder,
    fill() {
      // In smaller and smaller pieces, until not one byte more goes in.
      for (let piece = bytes; piece >= 1; piece = Math.floor(piece / 2)) {
        try {
          for (;;) writeFileSync(ballast, Buffer.alloc(piece), { flag: 'a' });
        } catch (error) {
          if (systemCodeOf(error) !== 'ENOSPC') throw error;
        }
      }
    },
    empty() {
      truncateSync(ballast);
    },
    async remove() {
      holder.stdin.end();
      await exited;
      rmSync(place, { recursive: true, force: true });
    },
  };
}
