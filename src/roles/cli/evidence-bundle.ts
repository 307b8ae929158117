import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../../ground/blobs/durable-file.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { JobId } from '../../proof/receipts/fields.ts';
import { examine } from '../../surfaces/checker/examine.ts';
import type { Trusted } from '../../surfaces/checker/trust.ts';
import type { ApiClient } from './api-client.ts';
import { matchingJobs } from './matching-jobs.ts';

/**
 * Receipts of a period in a folder, with what an auditor needs to check them without us: `manifest.json`,
 * which is written last, `receipts/<job>.receipt`, the keyring and the newest checkpoint.
 */
const Time = z.iso.datetime();
const FileEntry = z.strictObject({ bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const Manifest = z.strictObject({
  format: z.literal('countersign/evidence-bundle/v1'),
  service: z.string(),
  from: Time,
  to: Time,
  exported_at: Time,
  keyring: FileEntry,
  checkpoint: FileEntry,
  receipts: z.array(FileEntry.extend({ job: JobId })),
  /** Jobs that the service listed as done and gave no receipt for, with the code that it answered. */
  absent: z.array(z.strictObject({ job: JobId, code: z.string() })),
});
type Manifest = z.infer<typeof Manifest>;

export const KEYRING_FILE = 'keyring.json';
const CHECKPOINT_FILE = 'checkpoint';
const MANIFEST_FILE = 'manifest.json';
const RECEIPTS = 'receipts';

/** From the first instant up to and without the second, both in ISO 8601. */
export interface Period {
  readonly from: string;
  readonly to: string;
}

type Service = Pick<ApiClient, 'json' | 'bytes' | 'url'>;

/**
 * Writes the receipts of the jobs of a tenant that were created in a period and are done. A folder that an
 * interrupted export left is gone on with. Throws CodedError `request_invalid` for a folder that holds a
 * whole bundle already.
 */
export async function exportEvidence(
  api: Service,
  folder: string,
  { from, to }: Period,
  done: (count: number) => void,
): Promise<Manifest> {
  if (existsSync(join(folder, MANIFEST_FILE)))
    throw new CodedError('request_invalid', `${folder} holds a bundle already.`, { hint: 'name another folder' });
  const keyring = await kept(folder, KEYRING_FILE, api.bytes('/.well-known/countersign.json'));
  const receipts: Manifest['receipts'] = [];
  const absent: Manifest['absent'] = [];
  // The service lists what was created later than an instant: a millisecond before the first of the period.
  const createdAfter = new Date(Date.parse(from) - 1).toISOString();
  for await (const { id: job } of matchingJobs(api, { states: ['done'], createdAfter, createdBefore: to })) {
    const name = join(RECEIPTS, `${job}.receipt`);
    const given = await receiptOf(api, folder, name, job);
    if (typeof given === 'string') absent.push({ job, code: given });
    else receipts.push({ job, ...entryOf(given) });
    done(receipts.length + absent.length);
  }
  const checkpoint = await kept(folder, CHECKPOINT_FILE, api.bytes('/log/checkpoint'));
  const manifest: Manifest = {
    format: 'countersign/evidence-bundle/v1',
    service: api.url,
    from,
    to,
    exported_at: new Date().toISOString(),
    keyring,
    checkpoint,
    receipts,
    absent,
  };
  await writeDurably({ path: join(folder, MANIFEST_FILE), bytes: `${JSON.stringify(manifest, undefined, 1)}\n` });
  return manifest;
}

async function kept(folder: string, name: string, coming: Promise<Buffer>): Promise<z.infer<typeof FileEntry>> {
  const bytes = await coming;
  await writeDurably({ path: join(folder, name), bytes });
  return entryOf(bytes);
}

const entryOf = (bytes: Uint8Array) => ({ bytes: bytes.length, sha256: sha256Hex(bytes) });

/** The receipt, which an export before this one may have fetched; a code where the service gives none. */
async function receiptOf(api: Service, folder: string, name: string, job: string): Promise<Buffer | string> {
  const path = join(folder, name);
  if (existsSync(path)) return readFileSync(path);
  try {
    const bytes = await api.bytes(`/v1/jobs/${encodeURIComponent(job)}/receipt`);
    await writeDurably({ path, bytes });
    return bytes;
  } catch (error) {
    if (error instanceof CodedError && OF_ONE_JOB.has(error.code)) return error.code;
    throw error;
  }
}
const OF_ONE_JOB = new Set(['job_not_found', 'job_forgotten', 'job_not_done', 'erased', 'blob_missing']);

/** What is wrong with one file of a bundle. */
export interface BundleFault {
  readonly file: string;
  readonly reason: string;
  readonly detail: string;
}

/** What an offline check of a bundle found. */
export interface BundleReport {
  readonly sound: boolean;
  readonly period: Period;
  readonly verified: number;
  readonly absent: Manifest['absent'];
  readonly faults: readonly BundleFault[];
}

/**
 * Checks a bundle from its folder and a keyring alone: every file is the one that the manifest names, there
 * is no other, every receipt holds and is of its job and of the period. Throws CodedError `request_invalid`
 * where there is no whole bundle.
 */
export function checkEvidence(folder: string, trusted: Trusted, done: (count: number) => void): BundleReport {
  const manifest = readManifest(folder);
  const { receipts, absent, from, to, keyring, checkpoint } = manifest;
  const faults: BundleFault[] = [];
  for (const [file, entry] of Object.entries({ [KEYRING_FILE]: keyring, [CHECKPOINT_FILE]: checkpoint })) {
    const bytes = bytesOf(folder, file, entry);
    if (typeof bytes === 'string') faults.push(changed(file, bytes));
  }
  for (const [at, { job, ...entry }] of receipts.entries()) {
    const file = join(RECEIPTS, `${job}.receipt`);
    const bytes = bytesOf(folder, file, entry);
    const fault = typeof bytes === 'string' ? changed(file, bytes) : faultOf(file, bytes, job, manifest, trusted);
    if (fault !== undefined) faults.push(fault);
    done(at + 1);
  }
  const named = new Set(receipts.map(({ job }) => `${job}.receipt`));
  if (named.size < receipts.length)
    faults.push({ file: MANIFEST_FILE, reason: 'named_twice', detail: 'The manifest names a job twice.' });
  const there = existsSync(join(folder, RECEIPTS)) ? readdirSync(join(folder, RECEIPTS)) : [];
  for (const name of there.filter((one) => !named.has(one)))
    faults.push({ file: join(RECEIPTS, name), reason: 'not_named', detail: 'The manifest does not name this file.' });
  const refused = new Set(faults.map(({ file }) => file));
  const verified = receipts.filter(({ job }) => !refused.has(join(RECEIPTS, `${job}.receipt`))).length;
  return { sound: faults.length === 0, period: { from, to }, verified, absent, faults };
}

function readManifest(folder: string): Manifest {
  const path = join(folder, MANIFEST_FILE);
  if (!existsSync(path))
    throw new CodedError(
      'request_invalid',
      `${folder} has no ${MANIFEST_FILE}: it is no bundle, or its export was interrupted.`,
      {
        hint: 'run countersign export-evidence again with the same folder',
      },
    );
  try {
    return Manifest.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    const why = messageOf(cause).slice(0, 200);
    throw new CodedError('request_invalid', `${path} is no manifest of a bundle: ${why}`, { cause });
  }
}

/** The bytes of a file, or why they are not those of the manifest. */
function bytesOf(folder: string, file: string, { bytes, sha256 }: z.infer<typeof FileEntry>): Buffer | string {
  const path = join(folder, file);
  if (!existsSync(path)) return 'The file is not there.';
  const held = readFileSync(path);
  return held.length === bytes && sha256Hex(held) === sha256
    ? held
    : 'The file is not the one that the manifest names.';
}

const changed = (file: string, detail: string): BundleFault => ({ file, reason: 'changed', detail });

function faultOf(
  file: string,
  receipt: Buffer,
  job: string,
  period: Period,
  trusted: Trusted,
): BundleFault | undefined {
  const { answer } = examine(receipt, trusted);
  if (!answer.verified) return { file, reason: answer.reason, detail: answer.detail };
  const { ticket } = answer;
  if (ticket.job !== job) return { file, reason: 'other_job', detail: `The receipt is of ${ticket.job}.` };
  const createdMs = Date.parse(ticket.createdAt);
  if (createdMs >= Date.parse(period.from) && createdMs < Date.parse(period.to)) return undefined;
  return { file, reason: 'other_period', detail: `The job was created at ${ticket.createdAt}, outside of the period.` };
}
