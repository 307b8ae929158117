import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { TeeEvidence, gpuEvidenceBytes } from '../attestation/tee/tee-evidence.ts';
import { SESSION_TYPE, sessionSubject, type TeeSession } from '../attestation/tee/tee-session.ts';
import { workerBinding } from '../attestation/tee/worker-binding.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import { encodeStored, signPayload } from '../../proof/receipts/dsse.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { HardwareLink } from './hardware-hand-in.ts';

const run = promisify(execFile);
const LOOK_EVERY_MS = 1_000;
const RETRY_MS = 10_000;
const COMMAND_MS = 60_000;
const MAX_OUTPUT_BYTES = 786_432;

/**
 * Answers each challenge of the attestors with evidence of this machine, which a command of the operator
 * collects: `COMMAND gpu NONCE` prints the GPU's evidence as JSON, or `null`; `COMMAND cpu REPORT_DATA`
 * prints a quote over these 64 bytes, given in hexadecimal.
 */
export class HardwareSession {
  readonly #link: HardwareLink;
  readonly #key: SigningKey;
  readonly #models: TeeSession['models'];
  readonly #command: string;
  readonly #logger: Logger;
  readonly #looks: PeriodicTask;
  #answered = '';

  constructor(parts: {
    link: HardwareLink;
    key: SigningKey;
    models: readonly { readonly name: string; readonly sha256: string }[];
    command: string;
    logger: Logger;
  }) {
    this.#link = parts.link;
    this.#key = parts.key;
    this.#models = parts.models.map(({ name, sha256 }) => ({ name, sha256 }));
    this.#command = parts.command;
    this.#logger = parts.logger;
    const failed = (error: unknown) =>
      this.#logger.error(`there is no evidence of this machine: ${messageOf(error).slice(0, 300)}`);
    this.#looks = new PeriodicTask(() => this.#look(), failed, RETRY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Answers the newest challenge unless that was done; returns the ms until the next look. */
  async #look(): Promise<number> {
    const nonce = await this.#link.newest();
    if (nonce === undefined || nonce === this.#answered) return LOOK_EVERY_MS;
    const worker = workerIdOf(this.#key.public);
    const gpuText = await this.#ask('gpu', nonce);
    const gpu = TeeEvidence.shape.gpu.parse(JSON.parse(gpuText) ?? undefined);
    const gpuBytes = gpuEvidenceBytes(gpu === undefined ? {} : { gpu });
    const reportData = workerBinding({
      ...sessionSubject(worker, this.#key.public.bytes, { nonce, models: this.#models }),
      gpuEvidenceSha256: gpuBytes === undefined ? Buffer.alloc(0) : createHash('sha256').update(gpuBytes).digest(),
    });
    const cpu = TeeEvidence.shape.cpu.parse(JSON.parse(await this.#ask('cpu', reportData.toString('hex'))));
    const session: TeeSession = {
      version: 1,
      nonce,
      models: this.#models,
      evidence: { version: 1, cpu, ...(gpu === undefined ? {} : { gpu }) },
    };
    await this.#link.handIn(encodeStored(signPayload(this.#key, Buffer.from(JSON.stringify(session)), SESSION_TYPE)));
    this.#answered = nonce;
    this.#logger.info({ kind: cpu.kind, gpu: gpu?.kind }, 'evidence of this machine was handed in');
    return LOOK_EVERY_MS;
  }

  async #ask(what: 'gpu' | 'cpu', data: string): Promise<string> {
    const { stdout } = await run(this.#command, [what, data], { timeout: COMMAND_MS, maxBuffer: MAX_OUTPUT_BYTES });
    return stdout;
  }
}
