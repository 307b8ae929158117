/**
 * How each error looks from outside. A new code does not compile until it is here, and every surface
 * (HTTP status, CLI exit code, log) reads it from here.
 */
export const ERROR_CATALOG = {
  request_invalid: { status: 400, exit: 2, title: 'The request is not valid' },
  body_not_json: { status: 400, exit: 2, title: 'The body is not JSON that this service accepts' },
  body_too_large: { status: 413, exit: 2, title: 'The body is too large' },
  media_type_unsupported: { status: 415, exit: 2, title: 'The body must be application/json' },
  unauthenticated: { status: 401, exit: 4, title: 'A valid API key is needed' },
  scope_missing: { status: 403, exit: 4, title: 'The API key lacks the scope for this' },
  route_not_found: { status: 404, exit: 3, title: 'There is nothing at this address' },
  method_not_allowed: { status: 405, exit: 2, title: 'This address does not take that method' },
  job_not_found: { status: 404, exit: 3, title: 'There is no such job' },
  model_not_found: { status: 404, exit: 3, title: 'There is no such model' },
  job_not_done: { status: 409, exit: 5, title: 'The job is not done' },
  idempotency_key_reused: { status: 422, exit: 2, title: 'The idempotency key was used with another body' },
  task_not_supported: { status: 422, exit: 2, title: 'The model does not do this task' },
  attestation_unavailable: { status: 503, exit: 6, title: 'Nobody can confirm this job as asked' },
  too_many_streams: { status: 429, exit: 6, title: 'Too many event streams are open' },
  storage_unavailable: { status: 503, exit: 6, title: 'The storage does not answer' },
  overloaded: { status: 503, exit: 6, title: 'The service is too busy' },
  internal: { status: 500, exit: 1, title: 'Something went wrong on our side' },

  config_invalid: { status: 500, exit: 2, title: 'The configuration is not valid' },
  redis_unfit: { status: 500, exit: 2, title: 'The Redis server is not set up safely' },
  redis_missing: { status: 500, exit: 2, title: 'No Redis server could be found' },
  key_file_unfit: { status: 500, exit: 2, title: 'The key file cannot be used' },
  registry_expired: { status: 503, exit: 6, title: 'The list of workers has ended' },
  enrolment_refused: { status: 422, exit: 7, title: 'The worker is not enrolled' },
  worker_not_found: { status: 404, exit: 3, title: 'There is no such worker' },
  catalog_invalid: { status: 500, exit: 2, title: 'The model catalog is not valid' },
  model_file_unfit: { status: 500, exit: 2, title: 'The model file is not the one that was configured' },
  engine_unfit: { status: 500, exit: 2, title: 'The engine failed its self-check' },
  log_diverged: { status: 500, exit: 2, title: 'The log would fork' },
  port_taken: { status: 500, exit: 2, title: 'The port is taken' },
  start_failed: { status: 500, exit: 1, title: 'A process did not start' },
  log_unsound: { status: 422, exit: 7, title: 'The log is not what was signed' },
  canary_wrong: { status: 422, exit: 7, title: 'A known answer was confirmed wrongly' },
  receipt_refused: { status: 422, exit: 7, title: 'The receipt does not verify' },
  blob_missing: { status: 500, exit: 1, title: 'A stored object is missing or damaged' },
} as const satisfies Record<string, { status: number; exit: number; title: string }>;

export type ErrorCode = keyof typeof ERROR_CATALOG;
