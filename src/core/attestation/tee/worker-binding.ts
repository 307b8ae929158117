import { createHash } from 'node:crypto';

const DOMAIN = 'cb/worker-bind/v1\0';

export interface WorkerBinding {
  readonly worker: string;
  /** The 32 bytes of its Ed25519 key. */
  readonly publicKey: Buffer;
  /** SHA-256 of the TLS key (SPKI) by which it is reached, or empty. */
  readonly tlsSpkiSha256: Buffer;
  /** The attestor's, 32 random bytes. */
  readonly nonce: Buffer;
  /** SHA-256 of the bytes of the GPU's evidence, or empty where there is none. */
  readonly gpuEvidenceSha256: Buffer;
  /** SHA-256 of the list of models that it serves, or empty. */
  readonly modelManifestSha256: Buffer;
}

/**
 * What a quote's report data must be (64 bytes): SHA-512 over the domain and each part after its length in
 * four bytes. It ties the machine to one key, one nonce of ours, one GPU and one set of models; parts cannot
 * be moved between fields.
 */
export function workerBinding(binding: WorkerBinding): Buffer {
  const hash = createHash('sha512').update(DOMAIN);
  for (const part of [
    Buffer.from(binding.worker),
    binding.publicKey,
    binding.tlsSpkiSha256,
    binding.nonce,
    binding.gpuEvidenceSha256,
    binding.modelManifestSha256,
  ]) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    hash.update(length).update(part);
  }
  return hash.digest();
}
