import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../../../ground/json/canonical-json.ts';
import type { NitroDocument } from './nitro.ts';
import type { SnpReport } from './sev-snp.ts';
import { SNP_PRODUCTS } from './snp-products.ts';
import type { IntelQuote } from './tdx.ts';
import {
  CLOCK_GRACE_MS,
  SESSION_LIFE_MS,
  type HardwareProperty,
  type HardwareWarning,
} from '../../../proof/receipts/promises/tee.ts';
import { TeeRefused } from './tee-refused.ts';

/**
 * What the operator accepts of hardware. Everything is an allow-list: a platform that is not named is
 * refused, and a list without values for a platform admits nothing.
 */

const hexOf = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));
const Measurement = hexOf(48);
const Time = z.iso.datetime();
const Level = z.number().int().min(0).max(255);
const list = <T extends z.ZodType>(value: T) => z.array(value).min(1).max(1_000);

/** Values of a register, or the word `any` where the operator means to admit whatever it holds. */
const registers = z.union([list(Measurement), z.literal('any')]);

const TdxPolicy = z.strictObject({
  mrTd: list(Measurement),
  rtMr0: list(Measurement).optional(),
  /** Kernel, initial RAM disk and command line: without them, any system of any operator is admitted. */
  rtMr1: registers,
  rtMr2: registers,
  rtMr3: list(Measurement).optional(),
  /** The TDX modules of Intel's that are trusted. */
  mrSeam: list(Measurement),
  /** Advisories that are accepted although the platform is not up to date, each until a day. */
  advisories: z
    .array(z.strictObject({ id: z.string().max(40), until: Time }))
    .max(100)
    .default([]),
  minTcbEvaluationDataNumber: z.number().int().min(0).default(0),
});

const SnpTcbFloor = z.strictObject({
  fmc: Level.default(0),
  bootloader: Level,
  tee: Level,
  snp: Level,
  microcode: Level,
});

const SnpPolicy = z.strictObject({
  measurements: list(Measurement),
  hostData: list(hexOf(32)).optional(),
  minTcb: z.strictObject({
    milan: SnpTcbFloor.optional(),
    genoa: SnpTcbFloor.optional(),
    turin: SnpTcbFloor.optional(),
  }),
  maxVmpl: z.number().int().min(0).max(3).default(0),
  minGuestSvn: z.number().int().min(0).default(0),
  allowMigrationAgent: z.boolean().default(false),
  /** SHA-256 of root certificates to trust in place of AMD's. */
  roots: z.partialRecord(z.enum(SNP_PRODUCTS), hexOf(32)).optional(),
});

const NitroPolicy = z.strictObject({
  /** Sets of registers, by number; a document must agree with one set in all that it names. */
  pcrs: list(
    z.partialRecord(z.enum(['0', '1', '2', '3', '4', '8']), Measurement).refine((set) => '0' in set || '8' in set, {
      message: 'must name PCR0 (the image) or PCR8 (who signed it)',
    }),
  ),
  /** How long a document counts after the enclave made it; the default is the life of a session. */
  maxAgeSeconds: z
    .number()
    .int()
    .min(1)
    .max(10_800)
    .default(SESSION_LIFE_MS / 1_000),
});

const GpuPolicy = z.strictObject({
  /** How many GPUs a machine must show. */
  count: z.number().int().min(1).max(64).default(1),
  /** The chips that are accepted, as `GH100`; all where it is absent. */
  models: list(z.string().regex(/^[A-Z0-9]{2,12}$/)).optional(),
});

export const TeePolicy = z.strictObject({
  version: z.literal(1),
  /** Present where a machine without GPUs of this kind is refused. */
  gpu: GpuPolicy.optional(),
  tdx: TdxPolicy.optional(),
  sevSnp: SnpPolicy.optional(),
  nitro: NitroPolicy.optional(),
});
export type TeePolicy = z.infer<typeof TeePolicy>;

export type CpuFindings = IntelQuote | SnpReport | NitroDocument;

/** What a verdict says of hardware that was accepted. */
export type TeeProperty = Exclude<HardwareProperty, 'GPU_SPDM_OK' | 'GPU_NRAS_OK'>;

export interface Appraisal {
  readonly properties: readonly TeeProperty[];
  readonly warnings: readonly HardwareWarning[];
}

/** Until when authentic evidence of a CPU may count by its own time; without end where it tells none. */
export function freshUntilMs(found: CpuFindings, { nitro }: TeePolicy): number {
  return found.platform === 'nitro' && nitro !== undefined ? found.timestampMs + nitro.maxAgeSeconds * 1_000 : Infinity;
}

/** SHA-256 of the policy's canonical JSON (RFC 8785), by which verdicts name it. */
export function teePolicyDigest(policy: TeePolicy): string {
  return createHash('sha256').update(canonicalJson(policy)).digest('hex');
}

/** Appraises authentic evidence. Throws TeeRefused with the first thing that the policy does not accept. */
export function appraise(found: CpuFindings, policy: TeePolicy, atMs: number): Appraisal {
  switch (found.platform) {
    case 'sgx':
      throw new TeeRefused('TEE_PLATFORM_NOT_ALLOWED', 'An SGX enclave holds no model; a TDX guest is needed.');
    case 'tdx':
      return appraiseTdx(found, required(policy.tdx, 'Intel TDX'), atMs);
    case 'sev-snp':
      return appraiseSnp(found, required(policy.sevSnp, 'AMD SEV-SNP'));
    case 'nitro':
      return appraiseNitro(found, required(policy.nitro, 'AWS Nitro'), atMs);
  }
}

/** Appraises the GPUs that a machine shows, by the names in their certificates. Throws TeeRefused. */
export function appraiseGpus(found: readonly string[], { gpu }: TeePolicy): void {
  if (gpu === undefined) return;
  if (found.length < gpu.count)
    throw new TeeRefused('TEE_PLATFORM_NOT_ALLOWED', `The machine shows ${found.length} GPUs of ${gpu.count}.`);
  const other = found.map((name) => name.split(' ')[0] ?? '').find((chip) => gpu.models?.includes(chip) === false);
  if (other !== undefined)
    throw new TeeRefused('TEE_PLATFORM_NOT_ALLOWED', `The policy does not admit GPUs of the model ${other}.`);
}

function required<T>(part: T | undefined, name: string): T {
  if (part === undefined) throw new TeeRefused('TEE_PLATFORM_NOT_ALLOWED', `The policy does not admit ${name}.`);
  return part;
}

/** Bits of TD attributes: 0 is DEBUG, 28 is SEPT_VE_DISABLE; nothing else may be set. */
const TD_ATTRIBUTES = '0000001000000000';

function appraiseTdx(found: IntelQuote, policy: z.infer<typeof TdxPolicy>, atMs: number): Appraisal {
  if (Buffer.from(found.measurements['tdAttributes'] ?? '01', 'hex').readUInt8(0) % 2 === 1)
    throw new TeeRefused('TEE_DEBUG', 'The guest can be debugged.');
  if (found.measurements['tdAttributes'] !== TD_ATTRIBUTES)
    throw new TeeRefused(
      'TEE_CONFIGURATION_FORBIDDEN',
      `The guest's attributes are ${found.measurements['tdAttributes'] ?? 'none'}.`,
    );
  const accepted = new Set(policy.advisories.filter(({ until }) => atMs <= Date.parse(until)).map(({ id }) => id));
  const isUpToDate = found.tcbStatus === 'UpToDate';
  const open = found.advisories.filter((id) => !accepted.has(id));
  if (!isUpToDate && (found.tcbStatus === 'Revoked' || found.advisories.length === 0 || open.length > 0))
    throw new TeeRefused(
      'TEE_TCB_OUT_OF_DATE',
      `The platform is ${found.tcbStatus} (${open.join(', ') || 'no advisory named'}).`,
    );
  if (found.tcbEvaluationDataNumber < policy.minTcbEvaluationDataNumber)
    throw new TeeRefused('TEE_TCB_OUT_OF_DATE', `Intel's data is of evaluation ${found.tcbEvaluationDataNumber}.`);
  for (const name of ['mrTd', 'mrSeam', 'rtMr0', 'rtMr1', 'rtMr2', 'rtMr3'] as const) {
    const allowed = policy[name];
    const value = found.measurements[name] ?? '';
    if (allowed !== undefined && allowed !== 'any' && !allowed.includes(value))
      throw new TeeRefused(
        'TEE_MEASUREMENT_UNKNOWN',
        `${name} is ${value.slice(0, 16)}…, which the policy does not name.`,
      );
  }
  return {
    properties: [isUpToDate ? 'TEE_TDX_UP_TO_DATE' : 'TEE_TDX_ADVISORIES_ACCEPTED'],
    warnings: ['MEMORY_BUS_NOT_TRUSTED'],
  };
}

function appraiseSnp(found: SnpReport, policy: z.infer<typeof SnpPolicy>): Appraisal {
  if (found.debug) throw new TeeRefused('TEE_DEBUG', 'The guest can be debugged.');
  if (found.migrationAgent && !policy.allowMigrationAgent)
    throw new TeeRefused('TEE_CONFIGURATION_FORBIDDEN', 'The guest may be migrated.');
  if (found.vmpl > policy.maxVmpl)
    throw new TeeRefused('TEE_CONFIGURATION_FORBIDDEN', `The report is of privilege level ${found.vmpl}.`);
  const floor = policy.minTcb[found.product];
  if (floor === undefined)
    throw new TeeRefused('TEE_PLATFORM_NOT_ALLOWED', `The policy does not admit ${found.product}.`);
  for (const [name, least] of Object.entries(floor))
    if (found.reportedTcb[name as keyof typeof floor] < least)
      throw new TeeRefused('TEE_TCB_OUT_OF_DATE', `The ${name} level is below ${least}.`);
  if (found.guestSvn < policy.minGuestSvn)
    throw new TeeRefused('TEE_TCB_OUT_OF_DATE', `The guest's version is ${found.guestSvn}.`);
  if (!policy.measurements.includes(found.measurement))
    throw new TeeRefused(
      'TEE_MEASUREMENT_UNKNOWN',
      `The measurement ${found.measurement.slice(0, 16)}… is not in the policy.`,
    );
  if (policy.hostData !== undefined && !policy.hostData.includes(found.hostData))
    throw new TeeRefused('TEE_MEASUREMENT_UNKNOWN', 'The host data is not in the policy.');
  return {
    properties: ['TEE_SEV_SNP_OK'],
    warnings: [
      ...(found.product === 'milan' ? (['SNP_MILAN_KEYS_EXTRACTABLE'] as const) : []),
      'MEMORY_BUS_NOT_TRUSTED',
    ],
  };
}

function appraiseNitro(found: NitroDocument, policy: z.infer<typeof NitroPolicy>, atMs: number): Appraisal {
  if (found.debug) throw new TeeRefused('TEE_DEBUG', 'The enclave runs in debug mode.');
  const age = atMs - found.timestampMs;
  if (age < -CLOCK_GRACE_MS || age > policy.maxAgeSeconds * 1_000)
    throw new TeeRefused('TEE_NOT_FRESH', `The document is ${Math.round(age / 1_000)} s old.`);
  const agrees = policy.pcrs.some((set) =>
    Object.entries(set).every(([number, value]) => found.pcrs[Number(number)] === value),
  );
  if (!agrees) throw new TeeRefused('TEE_MEASUREMENT_UNKNOWN', 'The registers agree with no set of the policy.');
  return { properties: ['TEE_NITRO_OK'], warnings: [] };
}
