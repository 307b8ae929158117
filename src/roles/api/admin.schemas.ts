import { z } from 'zod';
import { JOB_STATES } from '../../proof/contract/job-states.ts';
import { BATCH_STATUSES } from '../../surfaces/batches/batch.store.ts';
import { DELETION_STEPS, Removed } from '../../surfaces/offboarding/tenant-deletions.ts';
import { SCOPES } from '../../surfaces/tenants/api-key.ts';
import { Limits } from '../../surfaces/tenants/limits.ts';
import { OPEN_WORK } from '../../surfaces/tenants/work-stops.ts';
import { Account } from './usage.schemas.ts';

const Time = z.iso.datetime();
const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'lower-case letters, digits and hyphens');

export const CreateTenant = z.strictObject({ name: Name, limits: Limits.default({}) });
const Work = z
  .enum(OPEN_WORK)
  .describe(
    'what becomes of open work. `keep`: all of it goes on. `drain`: accepted jobs go on, batches are cancelled. `stop`: jobs and batches are cancelled within seconds',
  );
export const ChangeTenant = z
  .strictObject({
    limits: Limits.optional(),
    disabled: z.boolean().optional(),
    work: Work.optional().describe('with `disabled: true`, what becomes of open work; `drain` if it is left out'),
  })
  .refine(({ disabled, work }) => work === undefined || disabled === true, {
    path: ['work'],
    message: 'only with disabled: true',
  });
export const CreateKey = z.strictObject({
  scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length),
  name: z.string().max(200).optional(),
  expires_at: z.iso.datetime({ offset: true }).optional(),
  limits: Limits.optional(),
});
export const ChangeKey = z.strictObject({ name: z.string().max(200).optional(), limits: Limits.optional() });
export const RevokeKey = z.strictObject({ work: Work.default('keep') });
export const ListKeyWork = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20).describe('the most jobs, batches and files of each'),
  cursor: z.string().max(200).optional().describe('`next_cursor` of the page of jobs before'),
});
export const RotateKey = z.strictObject({ overlap_seconds: z.number().int().min(0).max(2_592_000).default(86_400) });
export const ListAudit = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1_000).default(100).describe('the most entries of a page'),
  before: z.coerce.number().int().min(0).optional().describe('the number of an entry: those before it are listed'),
});

export const TenantDocument = z.strictObject({
  name: z.string(),
  created_at: Time,
  disabled_at: Time.nullable(),
  limits: Limits,
});
export type TenantDocument = z.infer<typeof TenantDocument>;

export const TenantList = z.strictObject({ tenants: z.array(TenantDocument) });
export type TenantList = z.infer<typeof TenantList>;

export const TenantWithAccount = TenantDocument.extend({
  account: Account.extend({ keys: z.record(z.string(), Account).describe('by the id of the API key') }),
});
export type TenantWithAccount = z.infer<typeof TenantWithAccount>;

export const KeyDocument = z.strictObject({
  id: z.string(),
  tenant: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)).readonly(),
  created_at: Time,
  expires_at: Time.nullable(),
  revoked_at: Time.nullable(),
  replaced_by: z.string().nullable().describe('the id of the key that replaces this one'),
  limits: Limits,
});
export type KeyDocument = z.infer<typeof KeyDocument>;

export const NewKey = KeyDocument.extend({ key: z.string().describe('the API key itself, shown only here') });
export type NewKey = z.infer<typeof NewKey>;

export const KeyList = z.strictObject({ keys: z.array(KeyDocument) });
export type KeyList = z.infer<typeof KeyList>;

export const DeletionDocument = z.strictObject({
  tenant: z.string(),
  status: z.enum(['deleting', 'deleted']),
  step: z.enum(DELETION_STEPS).nullable().describe('what is being removed; null once it is over'),
  removed: Removed.nullable().describe('how much went so far; of one that is over, see the account'),
  account: z
    .strictObject({
      payloadType: z.string(),
      payload: z.string(),
      signatures: z.array(z.strictObject({ keyid: z.string(), sig: z.string() })),
    })
    .nullable()
    .describe('the signed account of what went, a DSSE envelope; null until it is over'),
});
export type DeletionDocument = z.infer<typeof DeletionDocument>;

export const KeyWork = z.strictObject({
  jobs: z.array(z.strictObject({ id: z.string(), state: z.enum(JOB_STATES), model: z.string(), created_at: Time })),
  next_cursor: z.string().nullable().describe('null on the last page of jobs'),
  batches: z.array(z.strictObject({ id: z.string(), status: z.enum(BATCH_STATUSES), created_at: Time })),
  files: z.array(z.strictObject({ id: z.string(), bytes: z.int(), created_at: Time })),
});
export type KeyWork = z.infer<typeof KeyWork>;

export const AuditEntries = z.strictObject({
  entries: z.array(
    z.strictObject({
      n: z.int().describe('the number of the entry'),
      at: Time,
      by: z.string().describe('the id of an API key, `cli` for a holder of Redis’ passwords, or a role'),
      action: z.string(),
      target: z.string(),
      tenant: z.string().nullable().describe('the tenant that it concerns'),
      prev: z.string().describe('the SHA-256 of the entry before'),
      detail: z.unknown().describe('what was changed; its members depend on the action'),
    }),
  ),
  next_before: z.int().nullable().describe('`before` of the next page; null on the last'),
});
export type AuditEntries = z.infer<typeof AuditEntries>;

export const ListStuck = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1_000).default(100).describe('the most jobs that are listed'),
});

export const StuckList = z.strictObject({
  jobs: z.array(
    z.strictObject({
      id: z.string(),
      tenant: z.string(),
      model: z.string(),
      since: Time.describe('when its confirmation failed first'),
      failures: z.int().describe('how often it was put aside'),
      cause: z.string().describe('the last cause: a stable word where there is one'),
      next_try: Time,
      deadline: Time.describe('when it ends if no try succeeds, but for a grace of a minute'),
    }),
  ),
});
export type StuckList = z.infer<typeof StuckList>;
