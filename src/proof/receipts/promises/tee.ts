import { z } from 'zod';
import { Digest, Time } from '../fields.ts';
import { definePromise } from './promise.ts';

/** What was found of a worker's machine, by the makers of its parts. */
export const HARDWARE_PROPERTIES = [
  'TEE_TDX_UP_TO_DATE',
  'TEE_TDX_ADVISORIES_ACCEPTED',
  'TEE_SEV_SNP_OK',
  'TEE_NITRO_OK',
  'GPU_SPDM_OK',
  'GPU_NRAS_OK',
] as const;
export type HardwareProperty = (typeof HARDWARE_PROPERTIES)[number];

/** Known attacks on a platform that was accepted, for the receipt's reader. */
const HARDWARE_WARNINGS = ['SNP_MILAN_KEYS_EXTRACTABLE', 'MEMORY_BUS_NOT_TRUSTED'] as const;
export type HardwareWarning = (typeof HARDWARE_WARNINGS)[number];

const GPU_MODEL = /^[ -~]{1,100}$/;
/** A machine shows at most so many GPUs. */
export const MAX_GPUS = 64;

/** Evidence that was verified, and by which policy it was accepted. */
const Hardware = z.strictObject({
  evidence: Digest,
  policy: Digest,
  verifiedAt: Time,
  properties: z.array(z.enum(HARDWARE_PROPERTIES)).min(1).max(HARDWARE_PROPERTIES.length),
  warnings: z.array(z.enum(HARDWARE_WARNINGS)).max(HARDWARE_WARNINGS.length),
  /** What the makers call each GPU that was shown; absent where none was. */
  gpus: z.array(z.string().regex(GPU_MODEL)).min(1).max(MAX_GPUS).optional(),
});
export type Hardware = z.infer<typeof Hardware>;

/** Evidence of a machine counts for so long after the attestors asked for it, ms. */
export const SESSION_LIFE_MS = 3_600_000;
/** The attestor that verified the evidence may run on another machine than the judge. */
export const CLOCK_GRACE_MS = 60_000;

/** Why what is said of the hardware cannot be so; undefined where it can. */
function contradiction(hardware: Hardware, decidedMs: number): string | undefined {
  const { properties, warnings } = hardware;
  for (const words of [properties, warnings])
    if (new Set<string>(words).size !== words.length) return 'The verdict names a finding about the hardware twice.';
  const verifiedMs = Date.parse(hardware.verifiedAt);
  if (verifiedMs > decidedMs + CLOCK_GRACE_MS) return 'The hardware was verified after the verdict.';
  if (verifiedMs < decidedMs - SESSION_LIFE_MS - CLOCK_GRACE_MS)
    return 'The hardware was verified longer ago than its evidence counts.';
  const platforms = properties.filter((word) => word.startsWith('TEE_'));
  if (platforms.length !== 1) return 'The verdict names no platform of the hardware, or several.';
  if (properties.length - platforms.length > 1) return 'The verdict names two kinds of evidence of the same GPUs.';
  if (properties.length > platforms.length !== (hardware.gpus !== undefined))
    return 'The verdict names GPUs without evidence of them, or the evidence without the GPUs.';
  if (warnings.includes('SNP_MILAN_KEYS_EXTRACTABLE') && !properties.includes('TEE_SEV_SNP_OK'))
    return 'The verdict warns of another platform than the one it names.';
  return warnings.includes('MEMORY_BUS_NOT_TRUSTED') && properties.includes('TEE_NITRO_OK')
    ? 'The verdict warns of another platform than the one it names.'
    : undefined;
}

/** The worker's machine has proven itself by hardware evidence. */
export const tee = definePromise({
  name: 'tee',
  policy: {
    /** Whether the worker's machine must have proven itself. */
    tee: z.literal(true).optional(),
  },
  description: '`tee`: whether the machine that answers must have proven itself by hardware evidence',
  evidence: {},
  verdict: {
    /** Present where the worker's machine had proven itself when the attempt was judged. */
    hardware: Hardware.optional(),
  },
  properties: ['HARDWARE_ATTESTED'],
  notChecked: ['HARDWARE_NOT_ATTESTED'],
  broken({ policy, verdict: { hardware, timeCreated }, properties, notChecked }) {
    const isAttested = hardware !== undefined;
    if (policy.tee === true && !isAttested) return 'The ticket wants hardware evidence, and the verdict names none.';
    if (properties.has('HARDWARE_ATTESTED') !== isAttested || notChecked.has('HARDWARE_NOT_ATTESTED') === isAttested)
      return 'The verdict contradicts itself about the hardware.';
    return hardware && contradiction(hardware, Date.parse(timeCreated));
  },
});
