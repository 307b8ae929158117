import { z } from 'zod';
import { EVENT_TYPES } from '../../proof/contract/event-types.ts';
import { MESSAGE_STATUSES } from '../../surfaces/webhooks/webhook-messages.store.ts';
import { FORMATS } from '../../surfaces/webhooks/webhook.store.ts';

const Time = z.iso.datetime();
const Events = z.array(z.enum(EVENT_TYPES)).min(1).max(EVENT_TYPES.length);

export const CreateWebhook = z.strictObject({
  url: z.string().min(1).max(2_048),
  events: Events.default([...EVENT_TYPES]),
  format: z.enum(FORMATS).default('standard'),
  description: z.string().max(500).default(''),
});
export const ChangeWebhook = z.strictObject({
  url: z.string().min(1).max(2_048).optional(),
  events: Events.optional(),
  description: z.string().max(500).optional(),
  disabled: z.boolean().optional(),
});
export const RotateSecret = z.strictObject({ overlap_seconds: z.number().int().min(0).max(2_592_000).default(86_400) });
export const ListDeliveries = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50).describe('the most messages of the list'),
});

export const WebhookDocument = z.strictObject({
  id: z.string(),
  url: z.string(),
  events: z.array(z.enum(EVENT_TYPES)),
  format: z.enum(FORMATS),
  description: z.string(),
  created_at: Time,
  disabled_at: Time.nullable(),
  disabled_because: z.string().nullable(),
  lost: z
    .int()
    .describe('messages that were not kept because too many waited for this endpoint, or they waited for too long'),
  public_key: z.string(),
});
export type WebhookDocument = z.infer<typeof WebhookDocument>;

export const WebhookList = z.strictObject({ webhooks: z.array(WebhookDocument) });
export type WebhookList = z.infer<typeof WebhookList>;

export const WebhookSecret = z.strictObject({
  secret: z.string().describe('signs with HMAC, as Standard Webhooks says'),
  public_key: z.string().describe('verifies the Ed25519 signatures'),
});
export type WebhookSecret = z.infer<typeof WebhookSecret>;

export const RotatedWebhook = WebhookDocument.extend(WebhookSecret.shape);
export type RotatedWebhook = z.infer<typeof RotatedWebhook>;

export const DeletedWebhook = z.strictObject({ id: z.string(), deleted: z.literal(true) });
export type DeletedWebhook = z.infer<typeof DeletedWebhook>;

/** The body of a message, as Standard Webhooks recommends it. */
export const WebhookBody = z.strictObject({
  type: z.string(),
  timestamp: Time,
  data: z.record(z.string(), z.unknown()).describe('its members depend on the type'),
});

export const DeliveryDocument = z.strictObject({
  id: z.string(),
  endpoint: z.string(),
  url: z.string(),
  type: z.string(),
  status: z.enum(MESSAGE_STATUSES),
  attempts: z.int(),
  created_at: Time,
  delivered_at: Time.nullable(),
  next_attempt_at: Time.nullable(),
  answered: z.int().nullable().describe('the HTTP status of the last answer'),
  problem: z.string().nullable(),
  body: WebhookBody,
});
export type DeliveryDocument = z.infer<typeof DeliveryDocument>;

export const DeliveryList = z.strictObject({ deliveries: z.array(DeliveryDocument) });
export type DeliveryList = z.infer<typeof DeliveryList>;
