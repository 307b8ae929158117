import { createHash } from 'node:crypto';
import { CHANNEL_TABLE, KEY_TABLE, type Family, type FamilyName, type Part } from './key-table.ts';

type Keyed<Parts extends readonly Part[]> = Parts extends readonly []
  ? string
  : (...parts: { readonly [At in keyof Parts]: string | number }) => string;
type Names = { readonly [Name in FamilyName]: Keyed<(typeof KEY_TABLE)[Name]['parts']> };
type Channels = {
  readonly [Name in keyof typeof CHANNEL_TABLE as `${Name}Channel`]: Keyed<
    (typeof CHANNEL_TABLE)[Name]['place'] extends 'pool' ? readonly ['pool'] : readonly []
  >;
};

/**
 * Every Redis key of a shard by the name of its family, as `key-table.ts` has them: a text where there is one
 * key of the family, else a function of the parts. A pool's key takes a job id of the pool, or its name.
 */
export type RedisKeys = Names & Channels & { readonly prefix: string };
export const RedisKeys = class {
  readonly prefix: string;

  constructor(shard: string) {
    this.prefix = `{${shard}}:`;
    for (const [name, family] of Object.entries(KEY_TABLE))
      Object.assign(this, { [name]: namerOf(this.prefix, family) });
    for (const [name, { place, name: word }] of Object.entries(CHANNEL_TABLE)) {
      const parts: readonly Part[] = place === 'pool' ? ['pool'] : [];
      Object.assign(this, { [`${name}Channel`]: namerOf(this.prefix, { place, name: word, parts }) });
    }
  }
} as new (shard: string) => RedisKeys;

type Named = Pick<Family, 'place' | 'name' | 'parts'>;

function namerOf(prefix: string, { place, name, parts }: Named) {
  if (place === 'home')
    return parts.length === 0 ? prefix + name : (...values: string[]) => `${prefix}${name}:${values.join(':')}`;
  if (parts[0] === 'job') return (id: string) => `${prefix}@${tagOf(id)}:${name}:${id}`;
  return (pool: string, ...rest: string[]) => [`${prefix}@${poolTag(pool)}:${name}`, ...rest].join(':');
}

/** The tag of the pool that a job id carries. */
function tagOf(id: string): string {
  return id.slice(4, 8);
}

/** Whether a job is one of this pool, as its id says. */
export function isOfPool(id: string, pool: string): boolean {
  return tagOf(id) === poolTag(pool);
}

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';
const tags = new Map<string, string>();

/** What stands for a pool in its keys and in the ids of its jobs: 20 bits of the SHA-256 of its name. */
export function poolTag(pool: string): string {
  const known = tags.get(pool);
  if (known !== undefined) return known;
  const bytes = createHash('sha256').update(pool).digest();
  const tag = [0, 1, 2, 3].map((at) => CROCKFORD[(bytes[at] ?? 0) & 31]).join('');
  tags.set(pool, tag);
  return tag;
}

/** The BullMQ queue of a model in a pool. Neither name holds a dot or a colon. */
export function queueName(pool: string, model: string): string {
  return `${pool}.${model}`;
}

/** The pool of a queue. */
export function poolOfQueue(queue: string): string {
  return queue.split('.', 1)[0] ?? '';
}

/**
 * What a script that names `keys.<family>` or `channels.<name>` is given before its first line, on one line.
 * Its first argument is the prefix of the shard. A pool's key is named by any job id of the pool.
 */
export function scriptNames(source: string): string {
  const used = (word: string) =>
    new Set([...source.matchAll(new RegExp(`\\b${word}\\.(\\w+)`, 'g'))].map(([, n]) => n));
  const [keys, channels] = [used('keys'), used('channels')];
  if (keys.size + channels.size === 0) return '';
  const entries = Object.entries<Named>(KEY_TABLE).filter(([name]) => keys.has(name));
  const unknown = [...keys].find((name) => !entries.some(([known]) => known === name));
  if (unknown !== undefined) throw new Error(`There is no family of keys ${unknown}.`);
  const spoken = Object.entries(CHANNEL_TABLE)
    .filter(([name]) => channels.has(name))
    .map(([name, { place, name: word }]): [string, Named] => [
      name,
      { place, name: word, parts: place === 'pool' ? ['pool'] : [] },
    ]);
  return [
    'local prefix = ARGV[1]',
    "local function pool(id) return prefix .. '@' .. string.sub(id, 5, 8) .. ':' end",
    `local keys = { ${entries.map(luaName).join(', ')} }`,
    `local channels = { ${spoken.map(luaName).join(', ')} } `,
  ].join(' ');
}

function luaName([entry, { place, name, parts }]: [string, Named]): string {
  if (place === 'home') {
    if (parts.length === 0) return `${entry} = prefix .. '${name}'`;
    const values = parts.map((_, at) => `p${at}`);
    return `${entry} = function(${values.join(', ')}) return prefix .. '${name}:' .. ${values.join(" .. ':' .. ")} end`;
  }
  if (parts[0] === 'job') return `${entry} = function(id) return pool(id) .. '${name}:' .. id end`;
  const rest = parts.slice(1).map((_, at) => `p${at}`);
  return `${entry} = function(id${rest.map((part) => `, ${part}`).join('')}) return pool(id) .. '${[name, ''].slice(0, rest.length > 0 ? 2 : 1).join(':')}'${rest.map((part) => ` .. ${part}`).join(" .. ':'")} end`;
}
