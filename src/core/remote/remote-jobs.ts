import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { tokenOf } from '../jobs/begun.ts';
import type { Claim, ClaimReply, CommitReply } from '../execution/claims.ts';
import type { JobLink } from '../execution/links.ts';
import type { GatewayClient } from './gateway-client.ts';
import type { RemotePieces } from './remote-pieces.ts';
import { Committed, ROUTES, type Commit, type Lease } from './wire.ts';

/** For so long what came of a job is sent again while the gateway is away; its lease runs out before. */
const PATIENCE_MS = 600_000;

/** The leases of a gateway as claims, and what is said of them. */
export class RemoteJobs implements JobLink {
  readonly #gateway: GatewayClient;
  readonly #pieces: RemotePieces;
  readonly #granted = new Map<string, Lease>();

  constructor(gateway: GatewayClient, pieces: RemotePieces) {
    this.#gateway = gateway;
    this.#pieces = pieces;
  }

  /** Keeps a lease until its job is run, or `forget` is called. */
  grant(lease: Lease): void {
    this.#granted.set(lease.job, lease);
  }

  forget(job: string): void {
    this.#granted.delete(job);
  }

  /** The claim that the gateway has made: it is ready, and its beginning is still to be said. */
  claim(id: string): Promise<ClaimReply> {
    const lease = this.#granted.get(id);
    this.#granted.delete(id);
    if (lease === undefined) return Promise.resolve({ kind: 'useless', why: 'missing' });
    const { epoch, secret, ticket, input, trace, remaining_ms: remainingMs } = lease;
    const token = tokenOf(secret);
    const claim: Claim = { id, epoch, secret, token, ticket, input: input ?? undefined, trace, remainingMs };
    return Promise.resolve({ kind: 'ok', claim, isReady: true });
  }

  begin({ id, epoch, secret }: Claim): Promise<CommitReply> {
    return this.#commit(id, { kind: 'begin', epoch, secret });
  }

  /** After the pieces that were written before: none is to come behind the evidence. */
  async commitEvidence(claim: Claim, signed: SignedPayload, output: string, tokens: string): Promise<CommitReply> {
    const { id, epoch, secret } = claim;
    await this.#pieces.settled();
    return this.#commit(id, { kind: 'evidence', epoch, secret, statement: encodeStored(signed), output, tokens });
  }

  release({ id, epoch, secret }: Claim, signed: SignedPayload): Promise<CommitReply> {
    return this.#commit(id, { kind: 'release', epoch, secret, statement: encodeStored(signed) });
  }

  async #commit(job: string, json: Commit): Promise<CommitReply> {
    const request = { method: 'POST', target: ROUTES.lease(job), json, patienceMs: PATIENCE_MS } as const;
    return (await this.#gateway.ask(Committed, request)).reply;
  }
}
