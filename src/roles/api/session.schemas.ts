import { z } from 'zod';
import { SCOPES } from '../../surfaces/tenants/api-key.ts';

const ReadOnly = z.boolean().default(false).describe('whether the session can only look');

export const BeginSession = z.union([
  z.strictObject({ key: z.string().min(1).max(200).describe('an API key'), read_only: ReadOnly }),
  z.strictObject({
    link: z.string().min(1).max(200).describe('the secret of a link that was not used yet'),
    read_only: ReadOnly,
  }),
]);

/** Who is signed in, and what the page has to know about it. */
export const SessionDocument = z.strictObject({
  tenant: z.string(),
  key: z.string().describe('the id of the API key'),
  scopes: z.array(z.enum(SCOPES)),
  read_only: z.boolean(),
  memory: z.boolean().describe('whether this installation keeps memories'),
  proof: z.string().describe('what the page sends in the header `X-Countersign-Session` with all that acts'),
});
export type SessionDocument = z.infer<typeof SessionDocument>;

export const SessionEnd = z.strictObject({ ended: z.literal(true) });
export type SessionEnd = z.infer<typeof SessionEnd>;

export const MakeLink = z.strictObject({ read_only: ReadOnly });

export const LoginLink = z.strictObject({
  path: z
    .string()
    .describe('path of the page that signs in, with the secret in its fragment, which is sent to no server'),
  expires_at: z.iso.datetime(),
});
export type LoginLink = z.infer<typeof LoginLink>;
