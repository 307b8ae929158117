import type { Trusted } from '../checker/trust.ts';
import type { CallerApi } from '../http/caller-api.ts';

/**
 * For whom tools are called. What a caller may do is decided by the API at each call, by the caller's key:
 * the tools know no rule of their own.
 */
export interface McpSetting {
  readonly api: CallerApi;
  /** The address of the API, for what is fetched beside the protocol. */
  readonly url: string;
  /** The only owner whose memories these tools reach; undefined where each call names one. */
  readonly owner: string | undefined;
  /** The keys that receipts are verified against. */
  readonly trusted: () => Promise<Trusted>;
  /** Hears what went wrong and is no answer of the API. */
  readonly failed: (error: unknown) => void;
}
