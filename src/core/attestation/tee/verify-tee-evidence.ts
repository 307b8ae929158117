import { createHash, timingSafeEqual } from 'node:crypto';
import { verifyNitroDocument } from './nitro.ts';
import { verifyNras } from './nvidia-nras.ts';
import { verifySpdm } from './nvidia-spdm.ts';
import type { HardwareProperty, HardwareWarning } from '../../../proof/receipts/promises/tee.ts';
import { verifySnpReport } from './sev-snp.ts';
import { AMD_ROOTS, type SnpProduct } from './snp-products.ts';
import { verifyIntelQuote } from './tdx.ts';
import { gpuEvidenceBytes, type TeeCollateral, type TeeEvidence, type TeeSubject } from './tee-evidence.ts';
import { appraise, appraiseGpus, type CpuFindings, type TeePolicy } from './tee-policy.ts';
import { TeeRefused } from './tee-refused.ts';
import { workerBinding } from './worker-binding.ts';
import { certificatesOfPem } from './x509.ts';

export interface TeeResult {
  readonly properties: readonly HardwareProperty[];
  readonly warnings: readonly HardwareWarning[];
  /** The model of each GPU that was shown. */
  readonly gpus: readonly string[];
  readonly found: CpuFindings;
}

/**
 * Verifies a machine's evidence, that it is about this worker, this nonce and this GPU, and what the policy
 * says of it. Throws TeeRefused. It proves where a key lives; it does not prove that an answer is right.
 */
export async function verifyTeeEvidence(
  evidence: TeeEvidence,
  collateral: TeeCollateral,
  subject: TeeSubject,
  policy: TeePolicy,
  atMs: number,
  amdRoots: Readonly<Record<SnpProduct, string>> = { ...AMD_ROOTS, ...policy.sevSnp?.roots },
): Promise<TeeResult> {
  const gpuBytes = gpuEvidenceBytes(evidence);
  const found = await verifyCpu(evidence.cpu, collateral, atMs, amdRoots);
  const expected = workerBinding({
    ...subject,
    gpuEvidenceSha256: gpuBytes === undefined ? Buffer.alloc(0) : createHash('sha256').update(gpuBytes).digest(),
  });
  const said = found.platform === 'nitro' ? found.userData : found.reportData;
  if (said?.length !== expected.length || !timingSafeEqual(said, expected))
    throw new TeeRefused(
      'TEE_NOT_BOUND',
      'The report data does not bind this worker, this nonce, this GPU and these models.',
    );
  if (found.platform === 'nitro' && found.nonce?.equals(subject.nonce) !== true)
    throw new TeeRefused('TEE_NOT_FRESH', 'The document answers another nonce.');
  const gpu = await verifyGpu(evidence, collateral, subject.nonce, atMs);
  appraiseGpus(gpu.models, policy);
  const { properties, warnings } = appraise(found, policy, atMs);
  return { properties: [...properties, ...gpu.properties], warnings, gpus: gpu.models, found };
}

async function verifyCpu(
  cpu: TeeEvidence['cpu'],
  collateral: TeeCollateral,
  atMs: number,
  amdRoots: Readonly<Record<SnpProduct, string>>,
): Promise<CpuFindings> {
  switch (cpu.kind) {
    case 'tdx':
      return verifyIntelQuote(Buffer.from(cpu.quote, 'base64'), collateral.tdx, atMs);
    case 'sev-snp':
      return verifySnpReport(
        Buffer.from(cpu.report, 'base64'),
        certificatesOfPem(collateral.snpChain ?? ''),
        atMs,
        amdRoots,
      );
    case 'nitro':
      return verifyNitroDocument(Buffer.from(cpu.document, 'base64'), atMs);
  }
}

async function verifyGpu(
  { gpu }: TeeEvidence,
  collateral: TeeCollateral,
  nonce: Buffer,
  atMs: number,
): Promise<GpuFindings> {
  if (gpu === undefined) return { properties: [], models: [] };
  if (gpu.kind === 'spdm') {
    const reports = [gpu, ...(gpu.more ?? [])].map(({ evidence, certificates }) =>
      verifySpdm(Buffer.from(evidence, 'base64'), certificates, atMs),
    );
    if (!reports.every((report) => report.nonce.equals(nonce)))
      throw new TeeRefused('TEE_NOT_FRESH', 'The GPU answers another nonce.');
    if (new Set(reports.map(({ device }) => device)).size < reports.length)
      throw new TeeRefused('TEE_MALFORMED', 'The evidence shows one GPU twice.');
    const models = reports.flatMap(({ isGpu, model }) => (isGpu ? [model] : []));
    return { properties: requireGpu(models, 'GPU_SPDM_OK'), models };
  }
  if (collateral.nrasKeys === undefined)
    throw new TeeRefused('TEE_COLLATERAL_INVALID', 'There is no key set of NRAS to verify with.');
  const result = await verifyNras(gpu.bundle, collateral.nrasKeys, collateral.nrasPinnedSpki ?? [], atMs);
  if (result.nonce.toLowerCase() !== nonce.toString('hex'))
    throw new TeeRefused('TEE_NOT_FRESH', 'NRAS answers another nonce.');
  const models = result.devices.flatMap(({ name, hwModel }) => (name.startsWith('GPU-') ? [hwModel] : []));
  return { properties: requireGpu(models, 'GPU_NRAS_OK'), models };
}

interface GpuFindings {
  readonly properties: ('GPU_SPDM_OK' | 'GPU_NRAS_OK')[];
  /** The model of each GPU; switches are none. */
  readonly models: readonly string[];
}

function requireGpu(models: readonly string[], property: GpuFindings['properties'][number]): GpuFindings['properties'] {
  if (models.length === 0)
    throw new TeeRefused(
      'TEE_PLATFORM_NOT_ALLOWED',
      'The evidence is of an NVSwitch or another device, and of no GPU.',
    );
  return [property];
}
