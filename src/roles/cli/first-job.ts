import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSecretFile, writeSecretFile } from '../../ground/keys/key-file.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { EtaDocument } from '../../proof/contract/job-document.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { verifyReceipt } from '../../proof/receipts/receipt.ts';
import { HOUSE, SCOPES } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { NO_LIMITS } from '../../surfaces/tenants/limits.ts';
import { Tenants } from '../../surfaces/tenants/tenant.store.ts';
import type { ApiClient } from './api-client.ts';
import type { Output } from './output.ts';
import { NOT_CHECKED } from '../../surfaces/checker/verdict-words.ts';
import { type DataFolder } from './data-folder.ts';

const REDIS_READY_MS = 5_000;
const API_READY_MS = 30_000;
const LOOK_EVERY_MS = 50;

/** The first job, and the one that `up` suggests. */
export const DEMO = {
  model: 'kjv-1m',
  task: 'completion',
  input: { prompt: 'In the beginning' },
  params: { max_tokens: 48, temperature: 0.7, seed: 7 },
};

/** The first job as `up` prints it with `--json`. */
export interface FirstJob {
  readonly job: string;
  readonly state: string;
  readonly output: unknown;
  /** Path of the receipt. */
  readonly receipt: string;
  readonly verified: boolean;
  readonly checks: string[];
  /** Address of the API. */
  readonly api: string;
  /** From the submission to the end. */
  readonly ms: number;
}

/** The API key for first steps. It is made once, and again if Redis does not know it any more. */
export async function developmentKey(data: DataFolder, access: RedisAccess): Promise<string> {
  const redis = openRedis(access, 'prompt', createLogger('up', 'error'));
  try {
    await whenReady(redis, REDIS_READY_MS);
    const names = new RedisKeys(data.shard);
    const keys = new ApiKeys(redis, names);
    if (existsSync(data.devKey())) {
      const text = readSecretFile(data.devKey()).reveal().trim();
      if ((await keys.authenticate(text)) !== undefined) return text;
      rmSync(data.devKey());
    }
    const tenants = new Tenants(redis, names, new AuditLog(redis, names));
    if ((await tenants.find(HOUSE)) === undefined) await tenants.create('cli', HOUSE, NO_LIMITS);
    const { text } = await keys.create('cli', {
      tenant: HOUSE,
      scopes: SCOPES,
      name: 'first steps',
    });
    writeSecretFile(data.devKey(), `${text}\n`);
    return text;
  } finally {
    redis.disconnect();
  }
}

/** Resolves when the API can do jobs. Throws CodedError `start_failed` after 30 s. */
export async function whenApiReady(client: ApiClient): Promise<void> {
  const untilMs = performance.now() + API_READY_MS;
  for (;;) {
    const health = (await (await fetch(`${client.url}/health/ready`)).json()) as { ready: boolean; detail: string };
    if (health.ready) return;
    if (performance.now() > untilMs)
      throw new CodedError('start_failed', `Not ready after ${API_READY_MS / 1_000} s: ${health.detail}.`);
    await sleep(LOOK_EVERY_MS);
  }
}

const Quote = z.object({ eta: EtaDocument.nullable() });

/** When a job is foreseen to end: half of its kind within the first time, nine in ten within the second. */
export function foretoldEnd({ eta }: z.infer<typeof Quote>, nowMs: number): string | undefined {
  if (eta === null) return undefined;
  const [half, most] = [eta.p50, eta.p90].map((at) => Math.max(0, Date.parse(at) - nowMs));
  return `predicted: ${half} to ${most} ms`;
}

/**
 * Submits one real job, follows it, and verifies its receipt from file and keyring alone. Throws CodedError
 * `job_not_done`, and ReceiptRefused.
 */
export async function runFirstJob(data: DataFolder, client: ApiClient, out: Output): Promise<FirstJob> {
  const foretold = foretoldEnd(Quote.parse(await client.json('/v1/quote', 'POST', DEMO)), Date.now());
  const started = performance.now();
  const job = await client.submit(DEMO);
  const progress = out.progress(job.id, foretold);
  for await (const event of client.events(job.id)) {
    if (event.type === 'state') progress.state(String(event.data['state']), performance.now() - started);
    else if (event.type === 'chunk') progress.text();
  }
  progress.end();
  const final = await client.job(job.id);
  const ms = Math.round(performance.now() - started);
  if (final.state !== 'done')
    throw new CodedError('job_not_done', `The first job ended ${final.state}: ${final.reason?.detail ?? ''}`);

  const [output, receipt] = await Promise.all([
    client.bytes(`/v1/jobs/${job.id}/output`),
    client.bytes(`/v1/jobs/${job.id}/receipt`),
  ]);
  const receiptPath = data.at(`${job.id}.receipt.json`);
  writeFileSync(receiptPath, receipt);
  const input = Buffer.from(JSON.stringify(DEMO.input));
  const { checks, verdict } = verifyReceipt(receipt, readKeyring(data.keyring()), { output, input });
  const answer = JSON.parse(output.toString('utf8')) as { text: string };
  out.say(`asked      ${DEMO.input.prompt}`);
  out.say(`answered   ${answer.text.trim().replace(/\s+/g, ' ')}`);
  out.say(`receipt    ${receiptPath}`);
  for (const check of checks) out.say(`  checked  ${check}`);
  for (const gap of verdict.notChecked) out.say(`  not checked: ${NOT_CHECKED[gap]}`);
  const { state } = final;
  return { job: job.id, state, output: answer, receipt: receiptPath, verified: true, checks, api: client.url, ms };
}
