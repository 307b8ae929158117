import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Authority, type CertificateFiles } from '../../../test/support/certificates.ts';
import { doorOf } from './gateway-door.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-door-'));
let authority: Authority;
let worker: CertificateFiles;
let server: Server;
let url: string;
let abandoned = 0;

/** Answers as its address says. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.url === '/empty') return void response.writeHead(204).end();
  if (request.url === '/elsewhere') return void response.writeHead(302, { location: '/' }).end();
  if (request.url === '/forever') {
    response.once('close', () => (abandoned += 1));
    return void response.writeHead(200).write('begun');
  }
  const { method, headers } = request;
  const said = { method, own: headers['x-own'], length: headers['content-length'], body: await text(request) };
  response.writeHead(429, { 'retry-after': '7' }).end(JSON.stringify(said));
}

beforeAll(async () => {
  authority = await Authority.make(folder, 'authority');
  const files = await authority.issue('server');
  worker = await authority.issue('worker');
  const [cert, key, ca] = [files.cert, files.key, authority.file].map((file) => readFileSync(file));
  server = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true }, (request, response) => {
    void answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

const files = () => ({ url, certFile: worker.cert, keyFile: worker.key, caFile: authority.file });
const door = () => doorOf(files());
const get = { method: 'GET', headers: {}, signal: AbortSignal.timeout(60_000) };

describe('a door with a certificate', () => {
  test('says what it is told, and answers with status, headers and body, also of a refusal', async () => {
    const outgoing = { ...get, method: 'POST', headers: { 'x-own': 'a' }, body: 'söme' };
    const answered = await door()(`${url}/say`, outgoing);
    expect([answered.status, answered.ok, answered.headers.get('retry-after')]).toEqual([429, false, '7']);
    expect(await answered.json()).toEqual({ method: 'POST', own: 'a', length: '5', body: 'söme' });
  });

  test('an empty answer has no body, and a redirection is not followed', async () => {
    const empty = await door()(`${url}/empty`, get);
    expect([empty.status, empty.body]).toEqual([204, null]);
    expect((await door()(`${url}/elsewhere`, get)).status).toBe(302);
  });

  test('what is given up while it answers is closed, and whoever reads hears of it', async () => {
    const control = new AbortController();
    const answered = await door()(`${url}/forever`, { ...get, signal: control.signal });
    const reader = answered.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('begun');
    const next = reader?.read();
    control.abort();
    await expect(next).rejects.toThrow();
    await expect(door()(`${url}/forever`, { ...get, signal: control.signal })).rejects.toThrow('aborted');
    while (abandoned === 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test('whoever trusts another authority asks nothing', async () => {
    const other = await Authority.make(folder, 'other');
    await expect(doorOf({ ...files(), caFile: other.file })(`${url}/say`, get)).rejects.toThrow(/certificate/);
  });

  test('files that are no certificates, do not fit, or are for no TLS are refused by name', () => {
    writeFileSync(join(folder, 'empty.pem'), 'no certificate');
    writeFileSync(join(folder, 'torn.pem'), readFileSync(authority.file, 'utf8').replace('MI', 'AA'));
    const refused = (change: object, why: RegExp) => expect(() => doorOf({ ...files(), ...change })).toThrow(why);
    refused({ caFile: join(folder, 'empty.pem') }, /empty\.pem has no certificates of authorities/);
    refused({ caFile: join(folder, 'torn.pem') }, /torn\.pem has no certificates of authorities/);
    refused({ caFile: join(folder, 'none.pem') }, /none\.pem has no certificates of authorities/);
    refused({ certFile: authority.file }, /are no certificate and its key/);
    refused({ keyFile: undefined }, /goes with the file of its key/);
    refused({ url: 'http://127.0.0.1:1' }, /is not one/);
    expect(doorOf({ url: 'http://127.0.0.1:1' })).toBe(fetch);
  });
});
