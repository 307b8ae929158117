import { lookup as lookUpBySystem, promises as dns, type LookupAddress } from 'node:dns';
import { Agent as HttpAgent, request as httpRequest, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';

/** Where webhooks may be sent: never into our own network, unless the operator allows it. */
export class EgressRules {
  /** Allows private addresses, any port and plain http, for an installation whose receivers are inside. */
  readonly allowPrivate: boolean;

  constructor(allowPrivate: boolean) {
    this.allowPrivate = allowPrivate;
  }
}

const PORTS: ReadonlySet<string> = new Set(['', '443', '8443']);
const MAX_URL = 2_048;
const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 65_536;
/** A name server gets this long to answer, twice. */
const NAME_TIMEOUT_MS = 3_000;

/** What a receiver answered. `retryAfter` is the header of that name. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
}

/** The normalized address. Throws CodedError `webhook_refused`, which says what is wrong with it. */
export function checkUrl(text: string, { allowPrivate }: EgressRules): URL {
  const refuse = (why: string) => new CodedError('webhook_refused', `Webhooks are not sent to this address: ${why}.`);
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
  if (!allowPrivate && isIP(host) !== 0 && !isPublic(host)) throw refuse('its address is not public');
  return url;
}

/** Whether an address is public, in any spelling. Mapped, translated and tunnelled IPv4 addresses are not. */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  // Of IPv6, only 2000::/3 is assigned to the public Internet: the library calls ::127.0.0.1 unicast.
  return parsed.range() === 'unicast' && (parsed.kind() === 'ipv4' || parsed.match(ipaddr.parseCIDR('2000::/3')));
}

/**
 * Sends webhook messages. Connections are kept for reuse; the address of each was checked when it was opened.
 * Any number of calls may run at once.
 */
export class Egress {
  readonly #rules: EgressRules;
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;

  constructor(rules: EgressRules) {
    this.#rules = rules;
    // Who waits for a connection waits for a place: one host may be that of many tenants, and has no queue.
    const options = { keepAlive: true, keepAliveMsecs: 10_000, maxFreeSockets: 64 };
    this.#http = new HttpAgent(options);
    this.#https = new HttpsAgent(options);
  }

  /** Closes all connections. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /**
   * Sends a POST and returns the status of the answer. Its body is read up to a bound and discarded.
   * Redirects are not followed. Throws CodedError `webhook_refused` for an address that is not allowed, and
   * otherwise an Error that says what failed, after 15 s at the latest.
   */
  post(text: string, headers: Record<string, string>, body: string): Promise<Answer> {
    const url = checkUrl(text, this.#rules);
    const isPlain = url.protocol === 'http:';
    const options: RequestOptions = {
      method: 'POST',
      agent: isPlain ? this.#http : this.#https,
      headers: { ...headers, 'content-length': Buffer.byteLength(body) },
      // The connection goes to the address that was checked here: there is no second look-up that could be
      // rebound.
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
      // Unheard, it is neither an answer nor an error, and the message would never give its place back.
      request.once('upgrade', ({ statusCode = 0 }, socket) => {
        socket.destroy();
        resolveAnswer({ status: statusCode, retryAfter: undefined });
      });
      request.once('error', (error) => {
        // The receiver had just closed the kept connection: that says nothing about whether it accepts
        // messages.
        if (request.reusedSocket && systemCodeOf(error) === 'ECONNRESET')
          this.post(text, headers, body).then(resolveAnswer, reject);
        else reject(error);
      });
      request.end(body);
    });
  }

  readonly #lookup: LookupFunction = (hostname, options, callback) => {
    const answer = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => {
      if (error) {
        callback(error, []);
        return;
      }
      const allowed = this.#rules.allowPrivate ? addresses : addresses.filter(({ address }) => isPublic(address));
      const [first] = allowed;
      if (first === undefined) {
        callback(
          new CodedError('webhook_refused', 'Webhooks are not sent to this name: its address is not public.'),
          [],
        );
        return;
      }
      if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    };
    // Inside, names may stand in a file of this machine, which the system alone reads.
    if (this.#rules.allowPrivate) lookUpBySystem(hostname, { ...options, all: true }, answer);
    else
      lookUpByName(hostname).then(
        (addresses) => answer(null, addresses),
        (error: unknown) => answer(asSystemError(error), []),
      );
  };
}

/**
 * The addresses of a name, asked of the name servers by sockets of our own. The system's look-up takes one of
 * the few threads of this process for as long as a server is silent, and would hold up everybody's.
 */
async function lookUpByName(hostname: string): Promise<LookupAddress[]> {
  // RFC 6761: this name is this machine, and name servers are not asked for it.
  if (/(^|\.)localhost\.?$/i.test(hostname)) return [{ address: '127.0.0.1', family: 4 }];
  const resolver = new dns.Resolver({ timeout: NAME_TIMEOUT_MS, tries: 2 });
  const [four, six] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
  const found = [
    ...(four.status === 'fulfilled' ? four.value.map((address) => ({ address, family: 4 })) : []),
    ...(six.status === 'fulfilled' ? six.value.map((address) => ({ address, family: 6 })) : []),
  ];
  if (found.length === 0 && four.status === 'rejected') throw four.reason;
  return found;
}

function asSystemError(error: unknown): NodeJS.ErrnoException {
  return error instanceof Error ? error : new Error(messageOf(error));
}

/** What failed, for the owner of the endpoint; never what was answered. */
export function describeFailure(error: unknown): string {
  if (error instanceof CodedError) return error.message;
  if (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError'))
    return `No answer within ${TIMEOUT_MS / 1_000} s.`;
  return `No connection: ${messageOf(error).slice(0, 120)}.`;
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}
