/** An error of the service: its stable code, its sentence, and the status if there was an answer. */
export class CountersignError extends Error {
  override readonly name = 'CountersignError';
  readonly code: string;
  readonly status: number | undefined;

  constructor(code: string, message: string, status: number | undefined, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.status = status;
  }

  /** From a problem document (RFC 9457), or from any other answer. */
  static async from(response: Response): Promise<CountersignError> {
    const body = (await response.json().catch(() => undefined)) as { code?: unknown; detail?: unknown } | undefined;
    return new CountersignError(
      typeof body?.code === 'string' ? body.code : 'http_error',
      typeof body?.detail === 'string' ? body.detail : `The service answered ${response.status}.`,
      response.status,
    );
  }
}
