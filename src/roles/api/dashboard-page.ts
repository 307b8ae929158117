import type { FastifyReply, FastifyRequest } from 'fastify';
import type { DashboardFile } from './dashboard-files.ts';

/** Nothing from elsewhere, nothing inline, and no text that becomes markup. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "font-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** The headers of the dashboard's page. */
export const PAGE_HEADERS = {
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=()',
  // The page names its files by their content: an old page would ask for files that are gone.
  'cache-control': 'no-cache',
} as const;

/** Sends a file of the dashboard, compressed where the browser takes it. */
export async function sendDashboardFile(
  { type, bytes, gzipped }: DashboardFile,
  { headers }: Pick<FastifyRequest, 'headers'>,
  reply: FastifyReply,
): Promise<void> {
  const accepts = headers['accept-encoding'];
  const isZipped = gzipped !== undefined && typeof accepts === 'string' && /\bgzip\b/.test(accepts);
  if (gzipped !== undefined) reply.header('vary', 'accept-encoding, accept');
  if (isZipped) reply.header('content-encoding', 'gzip');
  await reply.type(type).send(isZipped ? gzipped : bytes);
}
