import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a path of the server of a test answers. */
export interface Page {
  readonly status?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** A Chromium of this machine; undefined, and said on standard error, where there is none. */
export function findChromium(): string | undefined {
  const found = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  if (found === undefined) process.stderr.write('SKIPPED: no Chromium is installed; nothing was run in a browser\n');
  return found;
}

/**
 * Serves pages on `port`, opens `path` of them in Chromium, and returns, one by one, what the pages post to
 * `/result`. The browser ends when the caller is done.
 */
export async function* inBrowser(
  chromium: string,
  port: number,
  path: string,
  answer: (request: IncomingMessage, body: Buffer) => Promise<Page>,
): AsyncGenerator {
  const results: unknown[] = [];
  let wake: () => void = () => undefined;
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      if (request.url === '/result') {
        results.push(JSON.parse(body.toString()));
        response.end();
        wake();
        return;
      }
      answer(request, body).then(
        (page) => response.writeHead(page.status ?? 200, page.headers).end(page.body),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const ended = open(chromium, `http://127.0.0.1:${port}${path}`);
  try {
    for (let told = 0; ; told += 1) {
      if (results.length <= told) await new Promise<void>((resolve) => (wake = resolve));
      yield results[told];
    }
  } finally {
    await ended();
    close(server);
  }
}

/** Starts Chromium; returns what ends it. */
function open(chromium: string, url: string): () => Promise<void> {
  const profile = mkdtempSync(join(tmpdir(), 'cs-chromium-'));
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
  const browser = spawn(chromium, [...flags, `--user-data-dir=${profile}`, url], { stdio: 'ignore', detached: true });
  const gone = new Promise((resolve) => browser.once('exit', resolve));
  return async () => {
    // Its own processes too, which still write into its folder.
    if (browser.pid !== undefined) process.kill(-browser.pid, 'SIGKILL');
    await gone;
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
}

function close(server: Server): void {
  server.closeAllConnections();
  server.close();
}
