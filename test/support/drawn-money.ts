import { toFile } from 'openai';
import { openaiOf } from './openai.ts';
import { completion, until, type Client, type Pipeline } from './pipeline.ts';

export interface Tenant {
  readonly name: string;
  readonly client: Client;
}

/** What is held may be so for jobs for which nobody works: who has come so often is refused. */
const MAX_TRIES = 40;
/** Lines of a batch; a few of each wait for workers who are not there. */
const BATCH_LINES = 24;

/**
 * Everything that costs money, drawn by a seed: jobs of every way in, of which some are cancelled, expire,
 * are refuted, or are erased; and batches, of which some are cancelled. Each is sent again under its key
 * until it is answered.
 */
export class DrawnMoney {
  /** Batches that were accepted, by tenant. */
  readonly batches: { readonly tenant: Tenant; readonly id: string }[] = [];
  /** Jobs for which nobody works but the hands of the test. */
  readonly byHand: string[] = [];
  readonly #pipeline: Pipeline;
  readonly #draw: () => number;

  constructor(pipeline: Pipeline, draw: () => number) {
    this.#pipeline = pipeline;
    this.#draw = draw;
  }

  below(bound: number): number {
    return Math.floor(this.#draw() * bound);
  }

  /** One piece of work of this tenant, whatever becomes of it. */
  async piece(tenant: Tenant, name: string): Promise<void> {
    const kind = this.below(10);
    const size = 1 + this.below(8);
    switch (kind) {
      case 0:
        return this.#batch(tenant, name, this.below(3) === 0);
      case 1: {
        const id = await this.#job(tenant, name, { model: 'by-hand', attempts: 3 });
        if (id !== undefined) this.byHand.push(id);
        return;
      }
      case 2: {
        const id = await this.#job(tenant, name, { model: 'by-hand' });
        return id === undefined ? undefined : this.#act(tenant, `/v1/jobs/${id}/cancel`, 'POST');
      }
      case 3:
        await this.#job(tenant, name, { model: 'by-hand', deadline_ms: 1_500 });
        return;
      case 4: {
        const id = await this.#job(tenant, name, {}, { prefer: 'wait=5' });
        return id === undefined ? undefined : this.#act(tenant, `/v1/jobs/${id}`, 'DELETE');
      }
      case 5:
        await this.#send(tenant, name, '/v1/responses', {
          model: 'noop',
          input: name,
          store: false,
          max_output_tokens: 8,
        });
        return;
      case 6:
      case 7:
        await this.#send(tenant, name, '/v1/completions', { model: 'noop', prompt: name, n: size, max_tokens: 8 });
        return;
      case 8:
        await this.#job(tenant, name, { attempts: 10, params: { max_tokens: 40 * size } });
        return;
      default:
        await this.#job(tenant, name, { attempts: 10 });
    }
  }

  /** The id of a job that was accepted. */
  async #job(tenant: Tenant, name: string, more: object, headers = {}): Promise<string | undefined> {
    const answer = await this.#send(tenant, name, '/v1/jobs', completion(name, more), headers);
    return answer.ok ? ((await answer.json()) as { id: string }).id : undefined;
  }

  /** Sends it again until there is an answer that another try would not change soon. */
  #send({ client }: Tenant, name: string, path: string, body: object, headers = {}): Promise<Response> {
    let tries = 0;
    return until(async () => {
      client.url = this.#pipeline.url;
      tries += 1;
      const answer = await client
        .post(path, body, { 'idempotency-key': `"${name}"`, ...headers })
        .catch(() => undefined);
      if (answer === undefined || answer.status >= 500) return undefined;
      const isHeld = answer.status === 429 && (await answer.clone().text()).includes('spend_held');
      return isHeld && tries < MAX_TRIES ? undefined : answer;
    });
  }

  /** The wish arrives, whatever it is answered: the job may be unknown in a Redis that came back older. */
  async #act({ client }: Tenant, path: string, method: string): Promise<void> {
    await until(async () => {
      client.url = this.#pipeline.url;
      const answer = await client.fetch(path, { method }).catch(() => undefined);
      return answer !== undefined && answer.status < 500;
    });
  }

  async #batch(tenant: Tenant, name: string, isCancelled: boolean): Promise<void> {
    const lines = Array.from({ length: BATCH_LINES }, (_, at) =>
      JSON.stringify({
        custom_id: `${name} ${at}`,
        method: 'POST',
        url: '/v1/completions',
        body: {
          model: at % 12 === 11 ? 'by-hand' : 'noop',
          prompt: `${name} ${at}`,
          n: 1 + (at % 3),
          max_tokens: 8,
        },
      }),
    );
    const id = await until(async () => {
      const openai = openaiOf(this.#pipeline, tenant.client.key);
      try {
        const file = await openai.files.create({ file: await toFile(Buffer.from(lines.join('\n'))), purpose: 'batch' });
        const made = { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' } as const;
        return (await openai.batches.create(made)).id;
      } catch (error) {
        // Disabled, or as many are open as may be: it makes none. Else it was not heard.
        return error instanceof Error && 'status' in error && Number(error.status) < 500 ? '' : undefined;
      }
    });
    if (id === '') return;
    this.batches.push({ tenant, id });
    if (isCancelled) await this.#act(tenant, `/v1/batches/${id}/cancel`, 'POST');
  }
}
