import { z } from 'zod';
import { Epoch, JobId, Name, Sha256 } from '../../proof/receipts/fields.ts';

/**
 * What a worker and a gateway say to each other, as JSON. Times are durations in milliseconds and never
 * instants: the two clocks may differ by hours.
 */

/** The addresses of a gateway. */
export const ROUTES = {
  challenges: '/v1/worker/challenges',
  sessions: '/v1/worker/sessions',
  enrolments: '/v1/worker/enrolments',
  announcement: '/v1/worker/announcement',
  hardware: '/v1/worker/hardware',
  leases: '/v1/worker/leases',
  waiting: '/v1/worker/waiting',
  renewals: '/v1/worker/renewals',
  pieces: '/v1/worker/pieces',
  stops: '/v1/worker/stops',
  lease: (job: string) => `/v1/worker/leases/${job}`,
  blob: (job: string, sha256: string) => `/v1/worker/leases/${job}/blobs/${sha256}`,
} as const;

/** A lease that is not acknowledged for so long goes back, and costs its job no attempt. */
export const ACKNOWLEDGE_MS = 5_000;
/** The longest that a request for leases waits. */
export const MOST_WAIT_MS = 60_000;
/** Jobs in one answer. */
export const MOST_LEASES = 64;
/** Leases that one request renews. */
export const MOST_RENEWED = 256;
export const MOST_PIECES = 256;
/** Characters of all pieces of a request. */
export const MOST_PIECE_TEXT = 200_000;
/** Bytes of a blob in one request. */
export const BLOB_PART_BYTES = 4 * 1_048_576;
/** Bytes of any other body. */
export const MOST_JSON_BYTES = 2 * 1_048_576;

const Hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const Ms = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const Base64 = (bytes: number) => z.base64().max(Math.ceil(bytes / 3) * 4);

export const SessionId = Hex(32);
export const Challenge = z.strictObject({ challenge: Hex(64), ends_in_ms: Ms });
export type Challenge = z.infer<typeof Challenge>;

/** Proves that the worker holds its key: it signs the challenge, see `request-signature.ts`. */
export const OpenSession = z.strictObject({
  challenge: Hex(64),
  public_key: Base64(32),
  signature: Base64(64),
});
export type OpenSession = z.infer<typeof OpenSession>;

export const Session = z.strictObject({
  session: SessionId,
  worker: z.string().max(64),
  pool: Name,
  ends_in_ms: Ms,
  /** How often leases are to be renewed. */
  renew_every_ms: Ms,
});
export type Session = z.infer<typeof Session>;

/** Where the wish of a worker to be enrolled stands; `why` says why it was refused. */
export const EnrolmentState = z.strictObject({
  worker: z.string().max(64),
  state: z.enum(['pending', 'enrolled', 'refused']),
  why: z.string().max(500).nullable(),
});
export type EnrolmentState = z.infer<typeof EnrolmentState>;

/** A signed announcement in its stored form. */
export const Announce = z.strictObject({ announcement: z.string().max(65_536) });

/** Why the worker may not work, if it may not, and the newest challenge to its hardware, if there is one. */
export const Standing = z.strictObject({
  bar: z.string().max(64).nullable(),
  hardware_challenge: z.string().max(256).nullable(),
});
export type Standing = z.infer<typeof Standing>;

/** Signed evidence of the worker's hardware in its stored form. */
export const HandInHardware = z.strictObject({ evidence: z.string().max(1_900_000) });

export const AskLeases = z.strictObject({
  models: z
    .array(z.strictObject({ name: Name, slots: z.number().int().min(1).max(1_024) }))
    .min(1)
    .max(200),
  wait_ms: z.number().int().min(0).max(MOST_WAIT_MS),
});
export type AskLeases = z.infer<typeof AskLeases>;

/** One job for the worker. `secret` stands for this lease alone in all that is said of it. */
export const Lease = z.strictObject({
  job: JobId,
  model: Name,
  epoch: Epoch,
  secret: Hex(16),
  /** The stored form of the signed ticket. */
  ticket: z.string(),
  /** The input as JSON text, or null where it is a blob that the ticket names. */
  input: z.string().nullable(),
  remaining_ms: z.number().int(),
  acknowledge_within_ms: Ms,
  /** The trace that it is part of, as `traceparent` has it; absent where it is part of none. */
  trace: z.string().max(64).optional(),
});
export type Lease = z.infer<typeof Lease>;
export const Leases = z.strictObject({ leases: z.array(Lease).max(MOST_LEASES) });

/** Asks for which of these models something waits; nothing is leased by it. */
export const AskWaiting = z.strictObject({ models: z.array(Name).min(1).max(200) });
/** Of each model for which something waits, what is next: it says only whether that has changed. */
export const Waiting = z.strictObject({
  waiting: z.array(z.strictObject({ model: Name, next: Hex(16) })).max(200),
});
export type Waiting = z.infer<typeof Waiting>;

/** Names a lease that the worker holds. */
const Held = { job: JobId, epoch: Epoch, secret: Hex(16) };

export const Renew = z.strictObject({ leases: z.array(z.strictObject(Held)).min(1).max(MOST_RENEWED) });
/** Of each lease in its turn: it goes on, or why its work must stop. */
export const Renewed = z.strictObject({
  leases: z.array(z.enum(['renewed', 'cancelled', 'lost'])),
  bar: z.string().max(64).nullable(),
});
export type Renewed = z.infer<typeof Renewed>;

export const Pieces = z.strictObject({
  pieces: z
    .array(z.strictObject({ ...Held, number: z.number().int().min(1).max(4_000), text: z.string().min(1) }))
    .min(1)
    .max(MOST_PIECES),
});
export type Pieces = z.infer<typeof Pieces>;

/** What a worker says of one lease; the job stands in the address. */
export const Commit = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('begin'), epoch: Epoch, secret: Hex(16) }),
  z.strictObject({
    kind: z.literal('evidence'),
    epoch: Epoch,
    secret: Hex(16),
    /** The stored form of the signed statement. */
    statement: z.string().max(65_536),
    /** The output where it is small enough to stand beside the evidence, else "". */
    output: z.string(),
    /** Token ids (base64) where they are small enough, else "". */
    tokens: z.string(),
  }),
  z.strictObject({ kind: z.literal('release'), epoch: Epoch, secret: Hex(16), statement: z.string().max(65_536) }),
]);
export type Commit = z.infer<typeof Commit>;
export const Committed = z.strictObject({ reply: z.enum(['ok', 'fenced', 'final']) });
export type Committed = z.infer<typeof Committed>;

/** How much of a blob the gateway has: the next part begins there. `whole` once it is stored. */
export const Uploaded = z.strictObject({ bytes: z.number().int().min(0), whole: z.boolean() });
export type Uploaded = z.infer<typeof Uploaded>;
export const BlobPart = z.strictObject({
  offset: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  total: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  epoch: z.coerce.number().pipe(Epoch),
  secret: Hex(16),
});
export type BlobPart = z.infer<typeof BlobPart>;
export const HeldLease = z.strictObject({ epoch: z.coerce.number().pipe(Epoch), secret: Hex(16) });
export const BlobName = Sha256;

/** A stop that is pushed; the next renewal says the same. */
export const PushedStop = z.strictObject({
  job: JobId,
  epoch: Epoch.nullable(),
  why: z.enum(['cancelled', 'lost']),
});
export type PushedStop = z.infer<typeof PushedStop>;
