import type { FinishReason, TaskName } from './task-types.ts';

/**
 * What a verified receipt says, as plain types: the published client shows them, and its declarations name no
 * library. `contract.test.ts` holds them equal to the schemas in `../receipts/statements.ts`, which specify
 * every member.
 */
interface Digest {
  sha256: string;
}

export interface AttestationPolicy {
  /** The share of jobs whose answer the attestor computes again. */
  recompute: number;
  /** The share of jobs whose tokens the attestor replays on its own copy of the model. */
  tokens?: number | undefined;
  /** How many workers of different operators must give the same answer, and how many are asked at most. */
  quorum?: { of: number; agree: number } | undefined;
  /** Whether the worker's machine must have proven itself by hardware evidence. */
  tee?: true | undefined;
}

export interface TicketParameters {
  max_tokens: number;
  temperature: number;
  top_p: number;
  seed: number;
  stop: string[];
}

/** What a job costs, in millionths of the currency. */
export interface JobPrice {
  table: { id: string; sha256: string };
  currency: string;
  input: number;
  output: number;
  second: number;
  attestation: number;
  hold: number;
  fixed?: true | undefined;
}

export interface TicketStatement {
  job: string;
  tenant: string;
  pool: string;
  model: { name: string; sha256: string };
  task: TaskName;
  params: TicketParameters;
  inputBytes: number;
  policy: AttestationPolicy;
  attempts: number;
  price?: JobPrice | undefined;
  /** What stood before the question: the digests of memories, each over a random salt too. */
  memories?: { id: string; sha256: string }[] | undefined;
  createdAt: string;
  deadline: string;
  nonce: string;
}

interface TokenUsage {
  inputTokens: number;
  outputTokens: number;
}

export interface EvidenceStatement {
  job: string;
  ticket: Digest;
  epoch: number;
  worker: { id: string; publicKey: string };
  model: { name: string; sha256: string; measured: boolean };
  engine: { name: string; version: string; sha256: string };
  outputBytes: number;
  usage: TokenUsage;
  finishReason: FinishReason;
  tokens?: Digest | undefined;
  startedAt: string;
  finishedAt: string;
}

export interface HardwareFindings {
  evidence: Digest;
  policy: Digest;
  verifiedAt: string;
  properties: (
    | 'TEE_TDX_UP_TO_DATE'
    | 'TEE_TDX_ADVISORIES_ACCEPTED'
    | 'TEE_SEV_SNP_OK'
    | 'TEE_NITRO_OK'
    | 'GPU_SPDM_OK'
    | 'GPU_NRAS_OK'
  )[];
  warnings: ('SNP_MILAN_KEYS_EXTRACTABLE' | 'MEMORY_BUS_NOT_TRUSTED')[];
  /** What its maker calls each GPU that was shown; absent where none was. */
  gpus?: string[] | undefined;
}

export interface VerdictStatement {
  verifier: { id: string; policies: [{ uri: 'urn:countersign:policy:v1'; digest: Digest }] };
  timeCreated: string;
  /** What was checked, each by a word of docs/receipt-statements.md. A later method adds words. */
  properties: string[];
  job: string;
  epoch: number;
  ticket: Digest;
  decision: 'confirmed' | 'refuted';
  ranMs?: number | undefined;
  recompute: { promisedShare: number; drawn: boolean; maxAbsDiff?: number | undefined };
  tokens?:
    | {
        promisedShare: number;
        drawn: boolean;
        tokens?: number | undefined;
        margin?: number | undefined;
        limit?: number | undefined;
        calibration?: Digest | undefined;
      }
    | undefined;
  usage?: TokenUsage | undefined;
  quorum?:
    | {
        of: number;
        agree: number;
        votes: { epoch: number; worker: string; operator: string; evidence: Digest }[];
      }
    | undefined;
  hardware?: HardwareFindings | undefined;
  /** What was not checked, likewise. */
  notChecked: string[];
  refusals: string[];
}

/** Where the verdict stands in the transparency log. */
export interface LogInclusion {
  readonly origin: string;
  readonly index: number;
  readonly size: number;
  /** The names of the witnesses whose cosignatures verify. */
  readonly witnesses: readonly string[];
  /**
   * When the latest witness that was needed has seen the entry, in seconds since 1970; undefined without
   * witnesses.
   */
  readonly seenAtSeconds: number | undefined;
}

/** A receipt whose signatures, bindings, promises and place in the log were all found to hold. */
export interface VerifiedReceipt {
  readonly ticket: TicketStatement;
  readonly evidence: EvidenceStatement;
  readonly verdict: VerdictStatement;
  readonly inputSha256: string;
  readonly outputSha256: string;
  readonly logged: LogInclusion;
  /**
   * What the job costs by its documents, in millionths of the ticket's currency; undefined where it has no
   * price.
   */
  readonly charge: number | undefined;
  /** What was found true, one sentence each, for people. */
  readonly checks: string[];
}
