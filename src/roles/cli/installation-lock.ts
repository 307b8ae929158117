import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { CodedError, systemCodeOf } from '../../ground/errors/coded-error.ts';
import type { DataFolder } from './data-folder.ts';

/** Not SIGHUP, which a terminal sends when it is closed. */
export const REREAD = 'SIGUSR2';

/**
 * Tells the process that holds the lock of an installation to have its roles read their files again, and
 * returns its id. Throws CodedError `installation_stopped` where none does.
 */
export function tellToReread(data: DataFolder): number {
  const path = data.at('up.pid');
  const pid = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
  if (!isAlive(pid))
    throw new CodedError('installation_stopped', `Nothing runs from ${data.path}.`, {
      hint: 'roles that are started otherwise take SIGHUP, e.g. `systemctl reload countersign-api`',
    });
  process.kill(pid, REREAD);
  return pid;
}

/**
 * Takes the lock of an installation and returns how to release it. A lock left by a process that has ended
 * does not count. Throws CodedError `start_failed` while another process holds it.
 */
export function lockInstallation(data: DataFolder): () => void {
  const path = data.at('up.pid');
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const file = openSync(path, 'wx', 0o600);
      writeFileSync(file, String(process.pid));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw error;
      const pid = Number(readFileSync(path, 'utf8'));
      if (isAlive(pid))
        throw new CodedError('start_failed', `Countersign already runs from ${data.path}, as process ${pid}.`, {
          hint: 'stop it, or choose another folder with COUNTERSIGN_DATA',
        });
      rmSync(path, { force: true });
    }
  }
  throw new CodedError('start_failed', `${path} cannot be written.`);
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid < 1 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
