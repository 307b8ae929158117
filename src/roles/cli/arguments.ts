import { readFileSync } from 'node:fs';
import { InvalidArgumentError } from 'commander';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';

/** Reads a number from the command line. Throws commander's InvalidArgumentError. */
export function numberOf(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value)) throw new InvalidArgumentError('must be a number.');
  return value;
}

/** Reads a time and returns it in ISO 8601, UTC. Throws commander's InvalidArgumentError. */
export function timeOf(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('must be a time, for example 2026-11-21T08:00:00Z.');
  return new Date(ms).toISOString();
}

/** Splits `name=value` at its first equals sign; without one, the value is empty. */
export function labelOf(text: string): [name: string, value: string] {
  const [name = '', ...value] = text.split('=');
  return [name, value.join('=')];
}

/** The bytes of a file. Throws CodedError `request_invalid`. */
export function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new CodedError('request_invalid', `${path} cannot be read: ${messageOf(cause)}.`, { cause });
  }
}

/** The JSON of a file, or of standard input for `-`. Throws CodedError `request_invalid`. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path === '-' ? 0 : path, 'utf8'));
  } catch (cause) {
    throw new CodedError('request_invalid', `${path} cannot be read as JSON: ${messageOf(cause)}.`, { cause });
  }
}

/** The JSON of a file, checked by a schema. Throws CodedError `request_invalid`. */
export function readDocument<T>(schema: { parse: (value: unknown) => T }, path: string): T {
  const json = readJson(path);
  try {
    return schema.parse(json);
  } catch (cause) {
    const why = messageOf(cause).slice(0, 200);
    throw new CodedError('request_invalid', `${path} does not have the expected form: ${why}`, { cause });
  }
}

/**
 * An address as people type it, without a slash at its end. One without a scheme is taken as http on this
 * machine only: an API key must not travel in the clear because somebody left out eight letters. Throws
 * CodedError `request_invalid`.
 */
export function apiUrl(text: string): string {
  const typed = text.trim().replace(/\/+$/, '');
  const address = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(\/|$)/.test(typed) ? `http://${typed}` : typed;
  if (/^https?:\/\//.test(address) && URL.canParse(address)) return address;
  const meant = `https://${typed.replace(/^[a-z]*:\/\//, '')}`;
  if (!URL.canParse(meant))
    throw new CodedError('request_invalid', `${text} is no address of an API.`, {
      hint: 'write one such as https://api.example.com',
    });
  throw new CodedError('request_invalid', `${text} is no address of an API: it needs a scheme.`, {
    hint: `write ${meant}, or http:// on a network that you trust`,
  });
}
