import type { FastifyAdapter } from '@nestjs/platform-fastify';
import { MAX_INPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { addJsonParser, boundedAdapter } from '../../surfaces/http/bounded-adapter.ts';
import { allowOrigins } from './cors.ts';
import { documentForAnyone, sendError } from './problem.filter.ts';

/** Room for the largest input, escaped, and the rest of the body. */
const MAX_BODY_BYTES = MAX_INPUT_BYTES + 65_536;
const BODY_TIMEOUT_MS = 30_000;
/** For the slowest upload of the largest file. */
const UPLOAD_TIMEOUT_MS = 900_000;

/** The API's server: bounded, with JSON bodies, uploads of files, and the pages that may call it. */
export function httpAdapter(options: {
  readonly bodyTimeoutMs?: number;
  /** Whose pages may call from a browser. */
  readonly corsOrigins: readonly string[];
}): FastifyAdapter {
  const { bodyTimeoutMs = BODY_TIMEOUT_MS, corsOrigins } = options;
  const adapter = boundedAdapter(
    {
      bodyBytes: MAX_BODY_BYTES,
      bodyTimeoutMs,
      requestTimeoutMs: UPLOAD_TIMEOUT_MS,
      isStreamed: (type) => /^multipart\//i.test(type),
    },
    sendError,
    documentForAnyone,
  );
  const instance = adapter.getInstance();
  addJsonParser(instance, MAX_BODY_BYTES);
  allowOrigins(instance, corsOrigins);
  // The controller of files reads the stream itself and stores it as it comes.
  instance.addContentTypeParser('multipart/form-data', (_request, payload, done) => done(null, payload));
  return adapter;
}
