import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * A port for a process that must be told which, or that comes back under the one it had. It lies below those
 * that the system hands out by itself, so that none of the other suites is given it meanwhile.
 */
export async function fixedPort(): Promise<number> {
  for (;;) {
    const port = randomInt(12_000, 30_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
