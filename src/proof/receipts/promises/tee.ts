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

/** Evidence that was verified, and by which policy it was accepted. */
const Hardware = z.strictObject({
  evidence: Digest,
  policy: Digest,
  verifiedAt: Time,
  properties: z.array(z.enum(HARDWARE_PROPERTIES)).min(1).max(HARDWARE_PROPERTIES.length),
  warnings: z.array(z.enum(HARDWARE_WARNINGS)).max(HARDWARE_WARNINGS.length),
});
export type Hardware = z.infer<typeof Hardware>;

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
  broken({ policy, verdict: { hardware }, properties, notChecked }) {
    const isAttested = hardware !== undefined;
    if (policy.tee === true && !isAttested) return 'The ticket wants hardware evidence, and the verdict names none.';
    return properties.has('HARDWARE_ATTESTED') !== isAttested || notChecked.has('HARDWARE_NOT_ATTESTED') === isAttested
      ? 'The verdict contradicts itself about the hardware.'
      : undefined;
  },
});
