/** Why hardware evidence is refused: stable words, named in verdicts and by the CLI. */
export type TeeRefusal =
  | 'TEE_MALFORMED'
  | 'TEE_CHAIN_UNTRUSTED'
  | 'TEE_CERTIFICATE_EXPIRED'
  | 'TEE_REVOKED'
  | 'TEE_COLLATERAL_INVALID'
  | 'TEE_SIGNATURE_INVALID'
  | 'TEE_DEBUG'
  | 'TEE_TCB_OUT_OF_DATE'
  | 'TEE_MEASUREMENT_UNKNOWN'
  | 'TEE_CONFIGURATION_FORBIDDEN'
  | 'TEE_NOT_FRESH'
  | 'TEE_NOT_BOUND'
  | 'TEE_PLATFORM_NOT_ALLOWED';

/** Evidence of hardware that is not believed, with what is wrong in one sentence. */
export class TeeRefused extends Error {
  readonly refusal: TeeRefusal;

  constructor(refusal: TeeRefusal, message: string, options?: ErrorOptions) {
    super(message, options);
    this.refusal = refusal;
  }
}
