import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { messageOf } from '../errors/coded-error.ts';
import { isDeposed, isPatient } from './connection.ts';
import { scriptNames } from './keys.ts';
import type { Parse } from './reply.ts';

/** Between two attempts to find the master; meanwhile the connection reconnects. */
const DEPOSED_MS = 100;

/**
 * A Lua script from a file of its own. Its first argument is the prefix of the shard where it names keys, as
 * `keys.<family>`, by the table of keys. Any number of calls may run at once.
 */
export interface Script<Reply> {
  /**
   * Runs the script and returns its parsed reply. On a patient connection, a server that is not the master
   * any more is left for the one that is, however long that takes. Throws what Redis answers as an error, and
   * an Error that names the script where the reply is not what its header promises.
   */
  run(redis: Redis, keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<Reply>;
}

interface ScriptOptions {
  readonly included?: readonly URL[];
  /** How the values of a reply are handed to its parser: as UTF-8 text, or as the bytes that they are. */
  readonly replies?: 'text' | 'bytes';
}

/**
 * Loads a script from the `lua` folder beside the calling module; `parse` gives its replies their type. The
 * files in `included` stand before it and hold local functions that several scripts have in common. A missing
 * file is an error at start, and not at the first job.
 */
export function loadScript<Reply>(
  url: URL,
  parse: Parse<Reply>,
  { included = [], replies = 'text' }: ScriptOptions = {},
): Script<Reply> {
  const text = [...included, url].map((file) => readFileSync(file, 'utf8')).join('\n');
  const source = scriptNames(text) + text;
  const sha = createHash('sha1').update(source).digest('hex');
  const parsed = (reply: unknown): Reply => {
    try {
      return parse(reply);
    } catch (cause) {
      throw new Error(`${basename(url.pathname)} answered ${messageOf(cause)}.`, { cause });
    }
  };
  return {
    async run(redis, keys, args) {
      for (;;) {
        try {
          return parsed(await evaluated(redis, [keys.length, ...keys, ...args]));
        } catch (error) {
          if (!isPatient(redis) || !isDeposed(error)) throw error;
          await sleep(DEPOSED_MS);
        }
      }
    },
  };

  async function evaluated(redis: Redis, args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const [count, ...rest] = args;
    try {
      return await (replies === 'bytes'
        ? redis.callBuffer('EVALSHA', sha, ...args)
        : redis.evalsha(sha, Number(count), ...rest));
    } catch (error) {
      // A server that restarted, or a replica that became the master, has no scripts; EVAL loads this one.
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
      return await (replies === 'bytes'
        ? redis.callBuffer('EVAL', source, ...args)
        : redis.eval(source, Number(count), ...rest));
    }
  }
}
