import { GatewayClient, type GatewayRequest } from '../../src/core/remote/gateway-client.ts';
import { SIGNED_HEADERS, requestBytes, sessionBytes } from '../../src/core/remote/request-signature.ts';
import { Committed, Leases, ROUTES, Renewed, type Lease } from '../../src/core/remote/wire.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import type { SigningKey } from '../../src/ground/keys/signing-key.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';

/** A request by hand: what is signed, and what of it is changed before it is sent. */
export interface ByHand {
  readonly method?: string;
  readonly target?: string;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly session?: string;
  readonly number?: number;
  /** The key that signs, where it is not the one that is named. */
  readonly signer?: SigningKey;
  readonly sent?: { readonly method?: string; readonly target?: string; readonly body?: string };
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a gateway answers to one who makes requests by hand. */
export interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly retryAfter: string | null;
  /** The sentence of a refusal, or the text of any other answer. */
  readonly detail: string;
}

/** A worker behind a gateway in the hands of a test: an honest client, and requests of any form beside it. */
export class GatewayHand {
  readonly url: string;
  readonly key: SigningKey;
  readonly client: GatewayClient;
  /** Far above those of the honest client. */
  #number = 1_000_000;

  constructor(url: string, key: SigningKey) {
    this.url = url;
    this.key = key;
    this.client = new GatewayClient(url, key, createLogger('worker', 'error'));
  }

  async session(): Promise<string> {
    return (await this.client.session(0)).session;
  }

  /** Opens a session with a challenge of this gateway, signed with `signer`. */
  async open(signer = this.key): Promise<Answer & { readonly again: () => Promise<Answer> }> {
    const { challenge } = (await (await post(this.url + ROUTES.challenges, '{}')).json()) as { challenge: string };
    const signature = signer.sign(sessionBytes(challenge)).toString('base64');
    const body = JSON.stringify({ challenge, public_key: this.key.public.raw, signature });
    const send = async () => answerOf(await post(this.url + ROUTES.sessions, body));
    return { ...(await send()), again: send };
  }

  /** Sends a request by hand; without changes it is one that the gateway takes. */
  async send({ method = 'POST', target = ROUTES.renewals, body = '{}', ...by }: ByHand): Promise<Answer> {
    const session = by.session ?? (await this.session());
    const number = by.number ?? (this.#number += 1);
    const signed = { method, target, session, number, bodySha256: sha256Hex(body) };
    const response = await fetch(this.url + (by.sent?.target ?? target), {
      method: by.sent?.method ?? method,
      body: by.sent?.body ?? body,
      headers: {
        'content-type': 'application/json',
        [SIGNED_HEADERS.key]: this.key.public.raw,
        [SIGNED_HEADERS.session]: session,
        [SIGNED_HEADERS.number]: String(number),
        [SIGNED_HEADERS.body]: signed.bodySha256,
        [SIGNED_HEADERS.signature]: (by.signer ?? this.key).sign(requestBytes(signed)).toString('base64'),
        ...by.headers,
      },
    });
    return answerOf(response);
  }

  /** Sends what an honest client would, and returns what it is answered; refusals as their codes. */
  async ask(request: GatewayRequest): Promise<string> {
    return this.client.bytes(request).then(
      (bytes) => bytes.toString('utf8'),
      (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
    );
  }

  async lease(model: string, slots = 1, waitMs = 60_000): Promise<readonly Lease[]> {
    const json = { models: [{ name: model, slots }], wait_ms: waitMs };
    return (await this.client.ask(Leases, { method: 'POST', target: ROUTES.leases, json })).leases;
  }

  async renew(lease: Held): Promise<string | undefined> {
    const json = { leases: [heldOf(lease)] };
    return (await this.client.ask(Renewed, { method: 'POST', target: ROUTES.renewals, json })).leases[0];
  }

  async begin({ job, epoch, secret }: Held): Promise<string> {
    const json = { kind: 'begin', epoch, secret };
    return (await this.client.ask(Committed, { method: 'POST', target: ROUTES.lease(job), json })).reply;
  }
}

type Held = Pick<Lease, 'job' | 'epoch' | 'secret'>;
const heldOf = ({ job, epoch, secret }: Held) => ({ job, epoch, secret });

const post = (url: string, body: string) =>
  fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/json' } });

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const { code, detail = text } = (text.startsWith('{') ? JSON.parse(text) : {}) as { code?: string; detail?: string };
  return { status: response.status, code, retryAfter: response.headers.get('retry-after'), detail };
}
