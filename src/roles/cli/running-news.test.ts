import { createServer } from 'node:http';
import { expect, test } from '@jest/globals';
import { Output } from './output.ts';
import { tellNews } from './running-news.ts';

test('what an installation does is said when it has changed, an outage once, and until it is to stop', async () => {
  const answers = [1, 1, undefined, undefined, 2, 2];
  const end = new AbortController();
  const server = createServer((_request, response) => {
    const finished = answers.shift();
    if (answers.length === 0) end.abort();
    response
      .writeHead(finished === undefined ? 503 : 200)
      .end(`countersign_kept_finished_jobs ${finished ?? 0}\ncountersign_open_jobs 0\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const lines: string[] = [];
  const keep = { write: (line: string) => lines.push(line) };
  try {
    await tellNews(`http://127.0.0.1:${port}`, new Output(false, { stdout: keep, stderr: keep }), end.signal, 1);
  } finally {
    server.closeAllConnections();
    server.close();
  }
  const told = (finished: number) =>
    `running    ${finished} jobs finished, 0 open; 0 workers and 0 attestors are there\n`;
  expect(lines).toEqual([told(1), 'no answer   the API answers 503\n', told(2)]);
});
