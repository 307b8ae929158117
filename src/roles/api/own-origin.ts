import { CodedError } from '../../ground/errors/coded-error.ts';

/** A name or an address, as the header `Host` has it, and a port. */
const HOST = /^(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/**
 * Where this service is, as whoever asks has addressed it. The header can hold anything, whose reading as an
 * address fails or names another place. Throws CodedError `request_invalid` where it names no host.
 */
export function ownOrigin(protocol: string, host: string): string {
  const url = HOST.test(host) ? URL.parse(`${protocol}://${host}`) : null;
  if (url === null) throw new CodedError('request_invalid', 'The header Host names no host.');
  return url.origin;
}
