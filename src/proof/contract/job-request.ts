import type { BandName } from './bands.ts';
import type { EventType } from './event-types.ts';
import type { TaskInputs, TaskName } from './task-types.ts';
import type { AttestationPolicy } from './verified-receipt.ts';

/**
 * How the answer is drawn from the model. What is absent gets its default at admission, and the ticket names
 * it.
 */
export interface JobParameters {
  /** The most tokens of the answer; 128 by default. */
  max_tokens?: number | undefined;
  /** 0 by default: the likeliest token each time. */
  temperature?: number | undefined;
  /** 1 by default. */
  top_p?: number | undefined;
  /** Drawn at random by default. */
  seed?: number | undefined;
  /** Texts that end the answer. */
  stop?: string[] | undefined;
}

/**
 * The shares and the quorum that a caller asks for; the service's own policy stands in for what is absent.
 */
type WantedAttestation = { [Method in keyof AttestationPolicy]?: AttestationPolicy[Method] | undefined };

interface RequestOf<Task extends TaskName> {
  task: Task;
  input: TaskInputs[Task];
  /** The name of a model from `GET /v1/models`. */
  model: string;
  params?: JobParameters | undefined;
  attestation?: WantedAttestation | undefined;
  /** The most attempts; 3 by default. */
  attempts?: number | undefined;
  /** An address that is told of this job's states, or of its end where `events` is absent. */
  webhook?: { url: string; events?: EventType[] | undefined } | undefined;
  /**
   * False: an hour after its end, input, parameters and output are erased. True by default: they are kept as
   * long as the service keeps jobs.
   */
  store?: boolean | undefined;
  /** Counted from now; by default ten minutes from when it may begin. */
  deadline_ms?: number | undefined;
  /** The time before which the job does not begin, in ISO 8601 with `Z` or an offset. */
  not_before?: string | undefined;
  /** Among the jobs of its tenant, higher ones go first: -10 to 10, 0 by default. */
  priority?: number | undefined;
  /** Each band has a least share of the workers; `standard` by default. */
  band?: BandName | undefined;
}

/**
 * The body of `POST /v1/jobs`, as a plain type. `contract.test.ts` holds it equal to the schema `SubmitJob`.
 */
export type JobRequest = RequestOf<'completion'> | RequestOf<'chat'> | RequestOf<'embedding'>;
