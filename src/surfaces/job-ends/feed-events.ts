import { z } from 'zod';
import type { PrivateNotes } from './job-end.ts';
import { FINAL_EVENT_TYPES, type WebhookEvent } from '../webhooks/webhook-event.ts';
import { messagesOf } from '../webhooks/webhook-messages.store.ts';
import type { Endpoint } from '../webhooks/webhook.store.ts';

/** The address of a job's own webhook, as the ticket's hash keeps it. */
const JobWebhook = z.object({ url: z.string(), events: z.array(z.string()).optional() });

/** An event of a tenant's feed with its webhook messages, as `enter.lua` takes it. */
export interface FeedEvent {
  readonly rank: number;
  readonly type: string;
  readonly data: string;
  readonly messages: ReturnType<typeof messagesOf>;
}

/** Gives events their messages. `webhook` is the JSON of the job's own webhook, or empty. */
export function feedEvents(
  subject: string,
  events: readonly WebhookEvent[],
  endpoints: readonly Endpoint[],
  { webhook, trace }: Pick<PrivateNotes, 'webhook' | 'trace'>,
): FeedEvent[] {
  const own = webhook === '' ? undefined : JobWebhook.parse(JSON.parse(webhook));
  return events.map((event) => ({
    rank: event.rank,
    type: event.type,
    data: event.body,
    messages: messagesOf(
      subject,
      event,
      endpoints,
      own && { url: own.url, events: own.events ?? FINAL_EVENT_TYPES },
      trace,
    ),
  }));
}
