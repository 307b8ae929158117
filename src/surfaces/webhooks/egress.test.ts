import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { checkUrl, Egress, isPublic } from './egress.ts';

const PUBLIC_ONLY = { allowPrivate: false };

function refusal(url: string): string {
  try {
    return checkUrl(url, PUBLIC_ONLY).href;
  } catch (error) {
    return error instanceof CodedError ? error.code : String(error);
  }
}

describe('where webhooks may go', () => {
  // The attacker holds a tenant's key, sets a webhook, and wants us to reach what only we can reach.
  test.each([
    'https://127.0.0.1/',
    'https://127.1/',
    'https://0/',
    'https://0x7f000001/',
    'https://2130706433/',
    'https://017700000001/',
    'https://[::1]/',
    'https://[::]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[::ffff:7f00:1]/',
    'https://[::127.0.0.1]/',
    'https://169.254.169.254/latest/meta-data',
    'https://10.0.0.1/',
    'https://172.16.0.1/',
    'https://192.168.1.1/',
    'https://100.64.0.1/',
    'https://198.18.0.1/',
    'https://224.0.0.1/',
    'https://255.255.255.255/',
    'https://[fc00::1]/',
    'https://[fe80::1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://[64:ff9b::a00:1]/',
    'https://[2002:7f00:1::]/',
    'https://[2001::1]/',
    'https://[ff02::1]/',
    'https://good@127.0.0.1/',
    'https://good:pass@example.com/',
    'https://example.com:22/',
    'https://example.com:6379/',
    'http://example.com/',
    'gopher://example.com/',
    'file:///etc/passwd',
    'data:text/plain,x',
    'javascript:alert(1)',
    'https://',
    'not a url',
    `https://example.com/${'x'.repeat(3_000)}`,
  ])('%s is refused', (url) => {
    expect(refusal(url)).toBe('webhook_refused');
  });

  test('public addresses are allowed, and control characters cannot break the request', () => {
    expect(refusal('https://example.com/hook')).toBe('https://example.com/hook');
    expect(refusal('https://example.com:8443/hook')).toBe('https://example.com:8443/hook');
    expect(refusal('https://93.184.215.14/')).toBe('https://93.184.215.14/');
    expect(refusal('https://[2606:2800:21f:cb07::1]/')).toBe('https://[2606:2800:21f:cb07::1]/');
    expect(refusal('https://example.com/a\r\nX-Evil: 1')).not.toMatch(/[\r\n]/);
    expect(isPublic('nonsense')).toBe(false);
  });

  test('a name that resolves to a private address is refused when the connection is made', async () => {
    const egress = new Egress(PUBLIC_ONLY);
    for (const url of ['https://localhost/', 'https://localhost:8443/'])
      await expect(egress.post(url, {}, '{}')).rejects.toMatchObject({ code: 'webhook_refused' });
    egress.close();
  });

  test('neither an endless answer nor a redirect is followed', async () => {
    let redirected = 0;
    const server: Server = createServer((request, response) => {
      if (request.url === '/redirect') response.writeHead(302, { location: '/elsewhere' }).end();
      else if (request.url === '/elsewhere') {
        redirected += 1;
        response.end();
      } else {
        response.writeHead(200);
        const more = () => {
          while (response.write('x'.repeat(65_536)) && !response.destroyed);
        };
        response.on('drain', more);
        more();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const egress = new Egress({ allowPrivate: true });
    expect((await egress.post(`${base}/redirect`, {}, '{}')).status).toBe(302);
    expect(redirected).toBe(0);
    expect((await egress.post(`${base}/endless`, {}, '{}')).status).toBe(200);
    egress.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('who answers by another protocol has answered: the attempt ends', async () => {
    const server = createServer().on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const egress = new Egress({ allowPrivate: true });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const headers = { connection: 'upgrade', upgrade: 'x' };
    expect((await egress.post(url, headers, '{}')).status).toBe(101);
    egress.close();
    await new Promise((resolve) => server.close(resolve));
  });
});
