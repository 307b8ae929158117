import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { CodedError, systemCodeOf } from '../../ground/errors/coded-error.ts';
import type { DataFolder } from './data-folder.ts';

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
