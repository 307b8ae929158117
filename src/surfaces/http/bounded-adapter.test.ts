import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from 'node:http2';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import { Authority } from '../../../test/support/certificates.ts';
import { addJsonParser, boundedAdapter } from './bounded-adapter.ts';
import { problemOf } from './problem.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-server-'));
let ca: Buffer;
let adapter: FastifyAdapter;
let url: string;
let session: ClientHttp2Session;

async function serve(): Promise<FastifyAdapter> {
  const authority = await Authority.make(folder, 'authority');
  const files = await authority.issue('server');
  ca = readFileSync(authority.file);
  const tls = { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
  const served = boundedAdapter(
    { bodyBytes: 1_000, bodyTimeoutMs: 300, requestTimeoutMs: 60_000, isStreamed: () => false, tls },
    (error, _request, reply) => void reply.status(error.status).type('application/problem+json').send(problemOf(error)),
  );
  const instance = served.getInstance();
  addJsonParser(instance, 1_000);
  instance.setErrorHandler((error, _request, reply) =>
    reply.status((error as { statusCode?: number }).statusCode ?? 500).send(),
  );
  instance.get('/', () => 'all');
  instance.post('/', (asked) => JSON.stringify(asked.body));
  await instance.listen({ port: 0, host: '127.0.0.1' });
  url = `https://127.0.0.1:${(instance.server.address() as AddressInfo).port}`;
  return served;
}

beforeAll(async () => {
  adapter = await serve();
  session = connect(url, { ca });
  await once(session, 'connect');
});
afterAll(async () => {
  session.destroy();
  await adapter.close();
  rmSync(folder, { recursive: true });
});

const JSON_BODY = { ':method': 'POST', 'content-type': 'application/json' };

async function answerOf(stream: ClientHttp2Stream): Promise<{ status: unknown; body: string }> {
  const [headers] = (await once(stream, 'response')) as [OutgoingHttpHeaders];
  return { status: headers[':status'], body: await text(stream) };
}

/** A GET is asked as soon as it is made. */
const ask = (headers: OutgoingHttpHeaders, body?: string) => {
  const stream = session.request(headers);
  return answerOf(body === undefined ? stream : stream.end(body));
};

/** Over HTTP/1.1, which is what the other side speaks that is not asked for more. */
async function askBefore(
  headers: Record<string, string> = {},
): Promise<{ version: string; status: number | undefined }> {
  const asked = request(`${url}/`, { ca, agent: new Agent({ maxCachedSessions: 0 }), headers }).end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  await text(response);
  return { version: response.httpVersion, status: response.statusCode };
}

describe('a server that speaks TLS', () => {
  test('speaks HTTP/2 with whoever can, and HTTP/1.1 with whoever cannot', async () => {
    expect(session.alpnProtocol).toBe('h2');
    expect(await ask({ ':path': '/' })).toEqual({ status: 200, body: 'all' });
    expect(await ask(JSON_BODY, '{"a":1}')).toEqual({ status: 200, body: '{"a":1}' });
    expect(await askBefore()).toEqual({ version: '1.1', status: 200 });
  });

  test('has the same bounds in both', async () => {
    expect((await ask(JSON_BODY, `"${'x'.repeat(2_000)}"`)).status).toBe(413);
    expect((await ask({ ...JSON_BODY, 'content-encoding': 'gzip' }, '{}')).status).toBe(415);
    expect(await askBefore({ long: 'x'.repeat(20_000) })).toEqual({ version: '1.1', status: 431 });
    expect(session.remoteSettings).toMatchObject({ maxConcurrentStreams: 100, maxHeaderListSize: 16_384 });
    // Every connection is new: whoever breaks these loses its own.
    for (const headers of [
      { long: 'x'.repeat(30_000) },
      Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`x-${at}`, 'x'])),
    ]) {
      const other = connect(url, { ca });
      const stream = other.request({ ':path': '/', ...headers });
      const refused = await answerOf(stream).then(
        ({ status }) => status,
        () => 'refused',
      );
      expect([431, 'refused']).toContain(refused);
      other.destroy();
    }
  });

  test('a body that does not come ends its request, and no other of its connection', async () => {
    const slow = session.request({ ...JSON_BODY, 'content-length': '100' });
    const ended = once(slow, 'close');
    slow.on('error', () => undefined);
    slow.write('{');
    expect((await ask({ ':path': '/' })).body).toBe('all');
    await ended;
    expect((await ask({ ':path': '/' })).body).toBe('all');
  });

  test('whoever is closed is closed, whatever connections stand open', async () => {
    const own = await serve();
    const open = connect(url, { ca });
    await answerOf(open.request({ ':path': '/' }));
    const agent = new Agent({ keepAlive: true });
    const asked = request(`${url}/`, { ca, agent }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    await text(response);
    const closed = once(open, 'close');
    await own.close();
    await closed;
    agent.destroy();
  });
});
