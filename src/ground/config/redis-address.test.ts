import { describe, expect, test } from '@jest/globals';
import { CodedError } from '../errors/coded-error.ts';
import { parseRedisAddress, serverUrl, withoutLogin } from './redis-address.ts';

describe('an address of Redis', () => {
  test.each([
    ['redis://host', { kind: 'server', server: { host: 'host', port: 6379 }, db: 0, tls: false }],
    ['redis://host/', { kind: 'server', server: { host: 'host', port: 6379 }, db: 0, tls: false }],
    ['rediss://host:1/3', { kind: 'server', server: { host: 'host', port: 1 }, db: 3, tls: true }],
    ['redis://[::1]:65535', { kind: 'server', server: { host: '::1', port: 65535 }, db: 0, tls: false }],
    [
      'redis://us%40er:p%3Aa%2Fss@host',
      { kind: 'server', server: { host: 'host', port: 6379 }, db: 0, tls: false, user: 'us@er', password: 'p:a/ss' },
    ],
    [
      'redis://:a@b/c@host',
      { kind: 'server', server: { host: 'host', port: 6379 }, db: 0, tls: false, password: 'a@b/c' },
    ],
    ['unix:///run/redis.sock', { kind: 'socket', path: '/run/redis.sock' }],
  ])('of one server: %s', (text, address) => {
    expect(parseRedisAddress(text)).toEqual(address);
  });

  test('of sentinels has their ports, the name of the master and TLS for both', () => {
    expect(parseRedisAddress('redis+sentinel://a,b:1,[::2]/main')).toEqual({
      kind: 'sentinel',
      sentinels: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 1 },
        { host: '::2', port: 26379 },
      ],
      name: 'main',
      db: 0,
      tls: false,
    });
    expect(parseRedisAddress('rediss+sentinel://u:p@a/main/2')).toMatchObject({
      name: 'main',
      db: 2,
      tls: true,
      user: 'u',
      password: 'p',
    });
  });

  test('of a Cluster has any of its nodes', () => {
    expect(parseRedisAddress('rediss+cluster://a,b:7000/')).toEqual({
      kind: 'cluster',
      nodes: [
        { host: 'a', port: 6379 },
        { host: 'b', port: 7000 },
      ],
      tls: true,
    });
  });

  test.each([
    ['', /must be one of redis:\/\/HOST:PORT/],
    ['http://host', /must be one of/],
    ['redis+sentinels://a/main', /must be one of/],
    ['redis://', /empty host/],
    ['redis+cluster://a,,b', /empty host/],
    ['redis+cluster://a,b,', /empty host/],
    ['redis://a,b', /redis\+sentinel:\/\/…\/NAME or redis\+cluster/],
    ['redis://a:0', /port 0/],
    ['redis://a:65536', /port 65536/],
    ['redis://a:x', /host that is none/],
    ['redis://::1', /host that is none/],
    ['redis://a/x', /no number of a database/],
    ['redis+sentinel://a,b', /names no master/],
    ['redis+sentinel://a,b/', /names no master/],
    ['redis+cluster://a/1', /number 0 only/],
    ['redis://a?tls=true', /options are no part of it/],
    ['redis://:sec#ret@a', /%23/],
    ['redis://:%zz@a', /%25/],
    ['unix://host/path', /unix:\/\/\/PATH/],
  ])('that is none says what to write: %j', (text, sentence) => {
    expect(() => parseRedisAddress(text)).toThrow(sentence);
    expect(() => parseRedisAddress(text)).toThrow(CodedError);
  });

  test('does not show its password where it is refused', () => {
    for (const text of ['redis://:sec#ret@a', 'redis://u:secret@a:x', 'redis+sentinel://u:secret@a', 'x://u:secret@a'])
      expect(() => parseRedisAddress(text)).not.toThrow(/sec/);
  });

  test('without its login names the same servers', () => {
    expect(withoutLogin('rediss+sentinel://u:p@a:1,b/main')).toBe('rediss+sentinel://a:1,b/main');
    expect(withoutLogin('redis://:a@b@host:6379/1')).toBe('redis://host:6379/1');
    expect(withoutLogin('unix:///a@b.sock')).toBe('unix:///a@b.sock');
  });

  test('of an endpoint is read back as it was', () => {
    for (const server of [
      { host: '::1', port: 7 },
      { host: 'a.b', port: 6379 },
    ])
      expect(parseRedisAddress(serverUrl(server, true))).toMatchObject({ kind: 'server', server, tls: true });
  });
});
