import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { CodedError, systemCodeOf } from '../errors/coded-error.ts';

/** A socket of a process that lives accepts at once; one that hangs counts as held. */
const ANSWER_MS = 2_000;

/**
 * Takes a folder for this process, and returns how to release it. The lock is a socket that this process
 * listens on: it is held as long as the process lives and no longer, whatever a clock says. Each contender
 * listens under a name of its own before it looks for others, so of two at once at least one sees the other;
 * it may be that both give up, and never that both hold it. Throws CodedError `start_failed` where another
 * process holds the folder.
 */
export async function lockFolder(folder: string): Promise<() => void> {
  const locks = join(folder, 'lock');
  mkdirSync(locks, { recursive: true, mode: 0o700 });
  const own = `${randomBytes(6).toString('hex')}.sock`;
  const server = await listen(join(locks, own));
  const release = () => {
    server.close();
    rmSync(join(locks, own), { force: true });
  };
  for (const name of readdirSync(locks)) {
    if (name === own) continue;
    if (await isHeld(join(locks, name))) {
      release();
      throw new CodedError('start_failed', `Another process has ${folder} open.`, {
        hint: 'stop it, or choose another folder',
      });
    }
    // Nobody listens there, and nobody will: the name was drawn by the process that has ended.
    rmSync(join(locks, name), { force: true });
  }
  return release;
}

function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.unref();
      resolve(server);
    });
  });
}

function isHeld(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (held: boolean) => {
      socket.destroy();
      resolve(held);
    };
    socket.setTimeout(ANSWER_MS, () => answer(true));
    socket.once('connect', () => answer(true));
    socket.once('error', (error) => answer(!['ECONNREFUSED', 'ENOENT'].includes(systemCodeOf(error) ?? '')));
  });
}
