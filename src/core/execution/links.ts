import type { SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Claim, ClaimReply, CommitReply } from './claims.ts';

/**
 * What a worker that runs jobs needs of the outside. A worker with a login of its pool's Redis is linked by
 * `Claims`, `Heartbeat`, `RedisPieces` and a folder; one that has none, by a gateway. Engines, evidence and
 * signatures are the same with both.
 */

/** Where a job is claimed, and where what came of it is committed. Each call may be repeated without harm. */
export interface JobLink {
  /** `secret` is random (16 hex digits) and new for each delivery. */
  claim(id: string, secret: string, begins: boolean): Promise<ClaimReply>;
  begin(claim: Claim): Promise<CommitReply>;
  commitEvidence(claim: Claim, statement: SignedPayload, output: string, tokens: string): Promise<CommitReply>;
  release(claim: Claim, statement: SignedPayload): Promise<CommitReply>;
}

/** Keeps leases from running out while their jobs are worked on. */
export interface LeaseLink {
  /** The value of the lease of a claim. */
  leaseOf(claim: Claim): string;
  hold(claim: Claim): void;
  drop(claim: Claim): void;
}

/** Where the provisional output of one attempt goes. */
export interface PieceLink {
  /**
   * Sends a numbered piece, from 1, and never throws: what cannot be sent is dropped. False while none can.
   */
  send(claim: Claim, number: number, text: string): boolean;
}

/** The blobs of a job: its input where that is large, and what the worker hands in. */
export interface BlobLink {
  of(job: string): {
    put(bytes: Uint8Array): Promise<string>;
    get(digest: string, maxBytes: number): Promise<Buffer>;
  };
}

/** Whether what a worker makes can be stored now. */
export interface StorageLink {
  readonly problem: string | undefined;
  start(onChange?: () => void): void;
  /** Something could not be stored. */
  wake(): void;
  stop(): Promise<void>;
}

/** Whether this worker may work in its pool, as the attestors say. */
export interface StandingLink {
  /** Why it may not work now, or undefined where it may. */
  readonly bar: string | undefined;
  watch(onChange: () => void): void;
  stop(): Promise<void>;
}

/** What takes jobs for a worker, of each model as many as it has places for. */
export interface DeliveryLink {
  begin(): Promise<void>;
  /** Jobs of this model are taken, or left to other workers. */
  take(model: string, isServed: boolean): Promise<void>;
  /** No job of any model is taken, or again those of the models that are served. */
  hold(isHeld: boolean): Promise<void>;
  /** Takes nothing from now on; what does not answer holds this up for `withinMs` at most. */
  pause(withinMs: number): Promise<void>;
  close(withinMs: number): Promise<void>;
}

/** What waits in the queues of a worker's models. */
export interface DemandLink {
  /** Of each of these models for which something waits, the name of what is next. */
  heads(models: readonly string[]): Promise<ReadonlyMap<string, string>>;
}
