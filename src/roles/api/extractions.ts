import { Injectable } from '@nestjs/common';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { SubmitOptions } from '../../surfaces/admission/admission.ts';
import { Extractor, type Extraction } from '../../surfaces/memory/extractor.ts';
import type { TakenIn, Whose } from '../../surfaces/memory/memory-calls.ts';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import { memoryWorkOf } from '../../surfaces/memory/memory-work.ts';
import type { Caller } from '../../surfaces/tenants/api-key.ts';
import { readableBy } from '../../surfaces/tenants/reach.ts';
import type { ExtractionDocument } from './memories.schemas.ts';
import { OwnAnswers } from './own-answers.ts';

/** Jobs that find memories in what was said. */
@Injectable()
export class Extractions {
  readonly #extractor: Extractor;
  readonly #jobs: Jobs;
  readonly #memory: MemoryClient;
  readonly #own: OwnAnswers;

  constructor(extractor: Extractor, jobs: Jobs, memory: MemoryClient, own: OwnAnswers) {
    this.#extractor = extractor;
    this.#jobs = jobs;
    this.#memory = memory;
    this.#own = own;
  }

  /** Submits one; the same again under the same Idempotency-Key. Throws what `Extractor.submit` throws. */
  async begin(
    caller: Caller,
    whose: Whose,
    asked: Extraction,
    once: Pick<SubmitOptions, 'idempotencyKey' | 'request'>,
  ): Promise<ExtractionDocument> {
    const admitted = await this.#extractor.submit(caller, whose, asked, once);
    await this.#own.require(caller, [admitted]);
    if (admitted.fresh !== undefined) return documentOf(admitted.fresh, null);
    return this.#document(await this.#jobs.get(caller.tenant, admitted.id));
  }

  /** Throws CodedErrors `job_not_found` where there is no such job for the caller, `memory_unavailable`. */
  async get(caller: Caller, id: string): Promise<ExtractionDocument> {
    const view = await this.#jobs.get(readableBy(caller), id);
    const document = await this.#document(view);
    // What is left of an erased job does not say what it was for.
    const isOne = (memoryWorkOf(view.surface)?.kind ?? 'shown') !== 'shown' || view.erased !== undefined;
    if (document.outcome !== 'kept' && document.outcome !== 'refused' && !isOne)
      throw new CodedError('job_not_found', 'There is no job with this id.');
    return document;
  }

  async #document(view: JobView): Promise<ExtractionDocument> {
    const { tenant, id: job } = view;
    return documentOf(view, await this.#memory.call('takenIn', { tenant, job }));
  }
}

function documentOf({ id: job, state, erased }: JobView, taken: TakenIn | null): ExtractionDocument {
  if (taken !== null) {
    const { refusal: reason, memories, dropped } = taken;
    return { job, state, outcome: reason === null ? 'kept' : 'refused', reason, memories, dropped };
  }
  const isOpen = !isFinal(state) || (state === 'done' && erased === undefined);
  return { job, state, outcome: isOpen ? 'open' : 'none', reason: null, memories: [], dropped: 0 };
}
