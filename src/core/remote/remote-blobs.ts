import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Claim } from '../execution/claims.ts';
import type { BlobLink } from '../execution/links.ts';
import type { GatewayClient } from './gateway-client.ts';
import { BLOB_PART_BYTES, ROUTES, Uploaded } from './wire.ts';

const PATIENCE_MS = 600_000;
/** So often may an upload be set back, as where another gateway has less of it. */
const MOST_SET_BACK = 100;

/** The blobs of the jobs that this worker holds leases on. */
export class RemoteBlobs implements BlobLink {
  readonly #gateway: GatewayClient;
  readonly #claimOf: (job: string) => Claim | undefined;

  constructor(gateway: GatewayClient, claimOf: (job: string) => Claim | undefined) {
    this.#gateway = gateway;
    this.#claimOf = claimOf;
  }

  of(job: string) {
    return {
      put: (bytes: Uint8Array) => this.#put(job, bytes),
      get: (digest: string, maxBytes: number) => this.#get(job, digest, maxBytes),
    };
  }

  async #get(job: string, digest: string, maxBytes: number): Promise<Buffer> {
    const target = `${ROUTES.blob(job, digest)}?${this.#held(job)}`;
    const bytes = await this.#gateway.bytes({ method: 'GET', target, patienceMs: PATIENCE_MS });
    if (bytes.length > maxBytes || sha256Hex(bytes) !== digest)
      throw new CodedError('blob_missing', `The stored object ${digest} is damaged.`);
    return bytes;
  }

  /**
   * In parts, each where the gateway says that it has the ones before: a lost part is all that is sent again.
   */
  async #put(job: string, bytes: Uint8Array): Promise<string> {
    const digest = sha256Hex(bytes);
    let [offset, setBack] = [0, 0];
    for (;;) {
      const part = bytes.subarray(offset, offset + BLOB_PART_BYTES);
      const target = `${ROUTES.blob(job, digest)}?offset=${offset}&total=${bytes.length}&${this.#held(job)}`;
      const has = await this.#gateway.ask(Uploaded, { method: 'PUT', target, bytes: part, patienceMs: PATIENCE_MS });
      if (has.whole) return digest;
      if (has.bytes <= offset && (setBack += 1) > MOST_SET_BACK)
        throw new CodedError('storage_unavailable', 'The gateway does not take the output.');
      offset = Math.min(has.bytes, bytes.length);
    }
  }

  #held(job: string): string {
    const claim = this.#claimOf(job);
    if (claim === undefined) throw new CodedError('lease_lost', 'This worker does not hold the lease any more.');
    return `epoch=${claim.epoch}&secret=${claim.secret}`;
  }
}
