import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { trustOfOrigin } from '../../proof/memory/entry.ts';
import type { Admission, Admitted, SubmitOptions } from '../admission/admission.ts';
import type { Caller } from '../tenants/api-key.ts';
import { extractionJob, type Said } from './extraction.ts';
import type { Whose } from './memory-calls.ts';
import type { MemoryClient } from './memory-client.ts';
import type { MemoryWork } from './memory-work.ts';

type Decided = 'kind' | 'place' | 'source' | 'sources' | 'mark' | 'at_most';

/** What is to be found, in what, and by which model. */
export interface Extraction extends Omit<MemoryWork & { kind: 'extract' }, Decided> {
  /** A name in the catalog; undefined for the first model that chats. */
  readonly model: string | undefined;
  readonly said: readonly Said[];
}

interface ExtractorParts {
  readonly admission: Admission;
  readonly memory: MemoryClient;
  readonly catalog: Catalog;
}

/** Has a model find the memories in what was said: an ordinary job of the tenant, charged like any other. */
export class Extractor {
  readonly #admission: Admission;
  readonly #memory: MemoryClient;
  readonly #catalog: Catalog;

  constructor({ admission, memory, catalog }: ExtractorParts) {
    this.#admission = admission;
    this.#memory = memory;
    this.#catalog = catalog;
  }

  /**
   * Submits the job. Its answer is remembered once it is confirmed; see `MemoryKeeper`. Throws what admission
   * throws, and CodedErrors `memory_not_found` for what it is said to rest on, `memory_unavailable`.
   */
  async submit(
    caller: Caller,
    whose: Whose,
    asked: Extraction,
    once: Pick<SubmitOptions, 'idempotencyKey' | 'request'>,
  ): Promise<Admitted> {
    const { model: wanted, said, ...about } = asked;
    const { name, capabilities } = this.#model(wanted);
    const { place } = await this.#memory.call('place', { whose, names: about.rests_on });
    const mark = freshRandom(16).toString('hex');
    const job = extractionJob(name, capabilities.features.includes('response_format'), mark, said);
    const [first, ...others] = said.map(({ kind }) => kind);
    const work: MemoryWork = {
      ...{ kind: 'extract', ...about, place, source: caller.keyId, sources: whose.sources, mark },
      at_most: trustOfOrigin(first ?? 'user', others),
    };
    return this.#admission.submit(caller, job, { ...once, surface: JSON.stringify({ memory: work }) });
  }

  #model(wanted: string | undefined): CatalogModel {
    const model =
      wanted === undefined
        ? this.#catalog.all().find(({ tasks }) => tasks.includes('chat'))
        : this.#catalog.get(wanted);
    if (model === undefined)
      throw wanted === undefined
        ? new CodedError('task_not_supported', 'No model here chats, so none can find memories in a text.', {
            hint: 'infer: false keeps the words as they are',
          })
        : new CodedError('model_not_found', 'There is no model of this name.', {
            hint: 'GET /v1/models lists them',
            param: 'model',
          });
    return model;
  }
}
