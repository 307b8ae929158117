import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Redis } from 'ioredis';
import { messageOf } from '../errors/coded-error.ts';
import { scriptNames } from './keys.ts';
import type { Parse } from './reply.ts';

/**
 * A Lua script from a file of its own. Its first argument is the prefix of the shard where it names keys, as
 * `keys.<family>`, by the table of keys. Any number of calls may run at once.
 */
export interface Script<Reply> {
  /**
   * Runs the script and returns its parsed reply. Throws what Redis answers as an error, and an Error that
   * names the script where the reply is not what its header promises.
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
      let reply: unknown;
      try {
        reply = await (replies === 'bytes'
          ? redis.callBuffer('EVALSHA', sha, keys.length, ...keys, ...args)
          : redis.evalsha(sha, keys.length, ...keys, ...args));
      } catch (error) {
        // A Redis server that restarted has lost its scripts; EVAL loads this one again.
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        reply = await (replies === 'bytes'
          ? redis.callBuffer('EVAL', source, keys.length, ...keys, ...args)
          : redis.eval(source, keys.length, ...keys, ...args));
      }
      return parsed(reply);
    },
  };
}
