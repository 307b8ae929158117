import { CodedError } from '../../ground/errors/coded-error.ts';
import { BundleRefused } from '../../proof/memory/bundle-tally.ts';

/** Runs `use`, and says of a bundle that is refused which file it is. Throws CodedError `bundle_refused`. */
export async function naming<T>(path: string, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (cause) {
    if (cause instanceof BundleRefused) throw new CodedError('bundle_refused', `${path}: ${cause.message}`, { cause });
    throw cause;
  }
}
