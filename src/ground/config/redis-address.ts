import { CodedError } from '../errors/coded-error.ts';

/** A host and a port of it. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** User and password as an address has them; a role's own come from its configuration. */
interface Login {
  readonly user?: string;
  readonly password?: string;
}

/**
 * Where the Redis of a shard is: one server; a master that sentinels know by its name; or the node of a
 * Cluster that holds the shard, whichever that is.
 */
export type RedisAddress =
  | { readonly kind: 'socket'; readonly path: string }
  | ({ readonly kind: 'server'; readonly server: Endpoint; readonly db: number; readonly tls: boolean } & Login)
  | ({
      readonly kind: 'sentinel';
      readonly sentinels: readonly Endpoint[];
      readonly name: string;
      readonly db: number;
      readonly tls: boolean;
    } & Login)
  | ({ readonly kind: 'cluster'; readonly nodes: readonly Endpoint[]; readonly tls: boolean } & Login);

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;
const FORMS =
  'redis://HOST:PORT, redis+sentinel://HOST,HOST,HOST/NAME, redis+cluster://HOST,HOST,HOST, each with rediss for TLS, or unix:///PATH';

/**
 * Reads an address. Throws CodedError `config_invalid`, whose sentence says what to write instead and never
 * repeats the password.
 */
export function parseRedisAddress(text: string): RedisAddress {
  if (text.startsWith('unix://')) {
    const path = text.slice('unix://'.length);
    if (!path.startsWith('/')) throw refused('names no path: write unix:///PATH/TO/SOCKET');
    return { kind: 'socket', path };
  }
  const [, scheme, form, rest] = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(.*)$/s.exec(text) ?? [];
  if (scheme === undefined || rest === undefined) throw refused(`must be one of ${FORMS}`);
  if (/[?#\s]/.test(rest))
    throw refused('has a "?", a "#" or a space: options are no part of it; in a password write %3F, %23, %20');
  const slash = rest.indexOf('/', rest.lastIndexOf('@') + 1);
  const [authority, path] = slash < 0 ? [rest, ''] : [rest.slice(0, slash), rest.slice(slash + 1)];
  const at = authority.lastIndexOf('@');
  const login = at < 0 ? {} : loginOf(authority.slice(0, at));
  const hosts = authority.slice(at + 1).split(',');
  const tls = scheme === 'rediss';
  if (form === 'sentinel') {
    const sentinels = hosts.map((host) => endpointOf(host, SENTINEL_PORT));
    const [name = '', ...more] = path.split('/');
    if (name === '') throw refused('names no master: write redis+sentinel://HOST,HOST,HOST/NAME');
    return { kind: 'sentinel', sentinels, name: decoded(name), db: databaseOf(more.join('/')), tls, ...login };
  }
  const servers = hosts.map((host) => endpointOf(host, REDIS_PORT));
  if (form === 'cluster') {
    if (databaseOf(path) !== 0) throw refused('names a database: a Redis Cluster has number 0 only, so leave it out');
    return { kind: 'cluster', nodes: servers, tls, ...login };
  }
  const [server, another] = servers;
  if (server === undefined || another !== undefined)
    throw refused('names several servers: write redis+sentinel://…/NAME or redis+cluster://… instead');
  return { kind: 'server', server, db: databaseOf(path), tls, ...login };
}

/** The address of one server, for a connection to it and no other. */
export function serverUrl({ host, port }: Endpoint, tls: boolean): string {
  return `redis${tls ? 's' : ''}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The address without user and password. */
export function withoutLogin(url: string): string {
  return url.startsWith('unix://') ? url : url.replace(/(?<=^[a-z+]+:\/\/).*@/s, '');
}

function refused(why: string): CodedError {
  return new CodedError('config_invalid', `The address of Redis ${why}.`);
}

function loginOf(text: string): Login {
  const colon = text.indexOf(':');
  const [user, password] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)];
  return {
    ...(user === '' ? {} : { user: decoded(user) }),
    ...(password === '' ? {} : { password: decoded(password) }),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refused('has a "%" that begins no code: write %25 for the sign itself');
  }
}

function endpointOf(text: string, defaultPort: number): Endpoint {
  const [, six, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = six ?? plain;
  if (host === undefined)
    throw refused(
      text === '' ? 'has an empty host: write HOST or HOST:PORT' : 'has a host that is none: write HOST:PORT',
    );
  const port = digits === undefined ? defaultPort : Number(digits);
  if (port < 1 || port > 65_535) throw refused(`has port ${port}: ports are from 1 to 65535`);
  return { host, port };
}

function databaseOf(path: string): number {
  if (path === '') return 0;
  if (!/^\d{1,4}$/.test(path)) throw refused('has a path that is no number of a database, such as /1');
  return Number(path);
}
