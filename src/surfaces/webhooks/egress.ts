import { lookup as resolve, type LookupAddress } from 'node:dns';
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';

/** Where a tenant may have us send something: never to our own network, unless the operator says so. */
export class EgressRules {
  /** Private addresses, any port, and plain http: for an installation whose receivers are inside. */
  readonly allowPrivate: boolean;

  constructor(allowPrivate: boolean) {
    this.allowPrivate = allowPrivate;
  }
}

const PORTS: ReadonlySet<string> = new Set(['', '443', '8443']);
const MAX_URL = 2_048;
const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 65_536;

export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
}

/** The address, normalised. Throws CodedError `webhook_refused` that says why not. */
export function checkUrl(text: string, { allowPrivate }: EgressRules): URL {
  const refuse = (why: string) => new CodedError('webhook_refused', `This address is not sent to: ${why}.`);
  if (text.length > MAX_URL) throw refuse(`it is longer than ${MAX_URL} characters`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse('it is not a URL');
  }
  if (url.protocol !== 'https:' && !(allowPrivate && url.protocol === 'http:')) throw refuse('it must be https');
  if (url.username !== '' || url.password !== '') throw refuse('it holds a user name or password');
  if (!allowPrivate && !PORTS.has(url.port)) throw refuse('its port is not 443 or 8443');
  const host = hostOf(url);
  if (!allowPrivate && isIP(host) !== 0 && !isPublic(host)) throw refuse('its address is not a public one');
  return url;
}

/** Whether an address is one of the public Internet, in whatever form it is written: mapped, translated and tunnelled ones are not. */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  // Of IPv6, only what is given out for the public (2000::/3) counts: the library calls ::127.0.0.1 unicast.
  return parsed.range() === 'unicast' && (parsed.kind() === 'ipv4' || parsed.match(ipaddr.parseCIDR('2000::/3')));
}

/** Sends messages. Connections are kept for the next one; each was checked when it was made. */
export class Egress {
  readonly #rules: EgressRules;
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;

  constructor(rules: EgressRules) {
    this.#rules = rules;
    const options = { keepAlive: true, keepAliveMsecs: 10_000, maxSockets: 64, maxFreeSockets: 64 };
    this.#http = new HttpAgent(options);
    this.#https = new HttpsAgent(options);
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /**
   * The status of the answer; what it says beyond is read to a bound and thrown away. Redirects are not followed. Throws CodedError
   * `webhook_refused` for an address that is not allowed, and an Error that says what failed otherwise, after 15 s at the latest.
   */
  post(text: string, headers: Record<string, string>, body: string): Promise<Answer> {
    const url = checkUrl(text, this.#rules);
    const isPlain = url.protocol === 'http:';
    const options: RequestOptions = {
      method: 'POST',
      agent: isPlain ? this.#http : this.#https,
      headers: { ...headers, 'content-length': Buffer.byteLength(body) },
      // The address that was checked is the one that is connected to: there is no second look-up to rebind.
      lookup: this.#lookup,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    };
    return new Promise((resolveAnswer, reject) => {
      const request = (isPlain ? httpRequest : httpsRequest)(url, options, (response) => {
        let bytes = 0;
        const answer = { status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] };
        response.on('data', (piece: Buffer) => {
          bytes += piece.length;
          if (bytes > MAX_ANSWER_BYTES) {
            resolveAnswer(answer);
            response.destroy();
          }
        });
        response.once('end', () => resolveAnswer(answer));
        response.once('error', reject);
      });
      request.once('error', (error) => {
        // A kept connection that the other side had just closed says nothing about the receiver.
        if (request.reusedSocket && systemCodeOf(error) === 'ECONNRESET')
          this.post(text, headers, body).then(resolveAnswer, reject);
        else reject(error);
      });
      request.end(body);
    });
  }

  readonly #lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      if (error) {
        callback(error, []);
        return;
      }
      const allowed = this.#rules.allowPrivate ? addresses : addresses.filter(({ address }) => isPublic(address));
      const [first] = allowed;
      if (first === undefined) {
        callback(new CodedError('webhook_refused', 'The name leads to an address that is not a public one.'), []);
        return;
      }
      if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

/** For people who look at their deliveries: what failed, without what was answered. */
export function describeFailure(error: unknown): string {
  if (error instanceof CodedError) return error.message;
  if (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError'))
    return `No answer within ${TIMEOUT_MS / 1_000} s.`;
  return `No connection: ${messageOf(error).slice(0, 120)}.`;
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}
