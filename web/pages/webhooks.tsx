import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type {
  DeliveryDocument,
  DeliveryList,
  WebhookDocument,
  WebhookList,
} from '../../src/roles/api/webhooks.schemas.ts';
import { ask, may } from '../api.ts';
import { exact, visibleLine } from '../format.ts';
import type { MarkName } from '../icons.tsx';
import { Act, Confirm, Empty, Head, Name, Panel, Show, State, Table, Time, useLoad } from '../parts.tsx';
import { place, to } from '../route.ts';

const EVERY_MS = 5_000;

/** Who is told of events, and what became of each message. */
export function WebhooksPage(): JSX.Element {
  const id = place.value.parts[1];
  return id === undefined ? <Endpoints /> : <Deliveries id={id} key={id} />;
}

function Endpoints(): JSX.Element {
  const hooks = useLoad((signal) => ask<WebhookList>('/v1/webhooks', { signal }), [], EVERY_MS);
  return (
    <>
      <Head title="Webhooks">
        Addresses that are told of your tenant’s events, by signed messages that are tried again until they arrive.
      </Head>
      <div class="panel">
        <Show loaded={hooks}>
          {({ webhooks }) =>
            webhooks.length === 0 ? (
              <Empty icon="webhooks" title="Nobody is told">
                <p>Add an address below. It gets a message for each job that ends.</p>
              </Empty>
            ) : (
              <Table
                caption="Endpoints"
                rows={webhooks}
                keyOf={({ id }) => id}
                columns={[
                  {
                    name: 'Address',
                    of: ({ id, url }) => (
                      <a href={to('webhooks', id)}>
                        <Name text={url} />
                      </a>
                    ),
                  },
                  { name: 'About', of: ({ description }) => <Name text={description} /> },
                  { name: 'State', of: (hook) => <HookState of={hook} /> },
                  { name: 'Events', number: true, of: ({ events }) => exact(events.length) },
                  { name: 'Lost', number: true, of: ({ lost }) => exact(lost) },
                  { name: 'Made', number: true, of: ({ created_at: at }) => <Time at={at} /> },
                ]}
              />
            )
          }
        </Show>
      </div>
      {may('tenant_admin') ? <AddEndpoint again={hooks.again} /> : null}
    </>
  );
}

function HookState({ of: { disabled_at, disabled_because } }: { readonly of: WebhookDocument }): JSX.Element {
  return disabled_at === null ? (
    <State of="running" word="active" />
  ) : (
    <State of="paused" word={visibleLine(disabled_because ?? 'disabled', 60)} />
  );
}

function AddEndpoint({ again }: { readonly again: () => void }): JSX.Element {
  const [url, setUrl] = useState('');
  const add = async () => {
    await ask<WebhookDocument>('/v1/webhooks', { method: 'POST', body: { url } });
    setUrl('');
    again();
  };
  return (
    <Panel title="Add an address">
      <div class="fields">
        <div class="field">
          <label for="hook-url">Address, https://…</label>
          <input
            id="hook-url"
            type="url"
            spellcheck={false}
            value={url}
            onInput={(event) => setUrl(event.currentTarget.value)}
          />
        </div>
        <Act label="Add it" primary disabled={url === ''} act={add} />
      </div>
    </Panel>
  );
}

const MARKS: Readonly<Record<string, MarkName>> = { delivered: 'done', pending: 'queued', failed: 'failed' };

function Deliveries({ id }: { readonly id: string }): JSX.Element {
  const path = `/v1/webhooks/${encodeURIComponent(id)}`;
  const hook = useLoad((signal) => ask<WebhookDocument>(path, { signal }), [path]);
  const deliveries = useLoad((signal) => ask<DeliveryList>(`${path}/deliveries`, { signal }), [path], EVERY_MS);
  const change = async (body: object) => {
    await ask<WebhookDocument>(path, { method: 'PATCH', body });
    hook.again();
  };
  const test = async () => {
    await ask<DeliveryDocument>(`${path}/test`, { method: 'POST' });
    deliveries.again();
  };
  return (
    <>
      <p class="crumbs">
        <a href={to('webhooks')}>Webhooks</a> / {visibleLine(id, 60)}
      </p>
      <Show loaded={hook}>
        {(document) => (
          <Head
            title={<Name text={document.url} />}
            actions={
              may('tenant_admin') ? (
                <>
                  <Act label="Send a test" act={test} />
                  {document.disabled_at === null ? (
                    <Confirm
                      label="Disable"
                      title="Disable this endpoint?"
                      yes="Disable it"
                      act={() => change({ disabled: true })}
                    >
                      <p>It is told of nothing more until it is enabled. Events keep coming in the stream.</p>
                    </Confirm>
                  ) : (
                    <Act label="Enable" act={() => change({ disabled: false })} />
                  )}
                </>
              ) : undefined
            }
          >
            <HookState of={document} /> {document.events.length} kinds of events
          </Head>
        )}
      </Show>
      <section class="panel" aria-label="Deliveries">
        <Show loaded={deliveries}>
          {({ deliveries: rows }) =>
            rows.length === 0 ? (
              <Empty icon="webhooks" title="No message yet">
                <p>Send a test, or wait for the next job that ends.</p>
              </Empty>
            ) : (
              <DeliveryTable rows={rows} again={deliveries.again} />
            )
          }
        </Show>
      </section>
    </>
  );
}

function DeliveryTable({
  rows,
  again,
}: {
  readonly rows: readonly DeliveryDocument[];
  readonly again: () => void;
}): JSX.Element {
  const redeliver = async (id: string) => {
    await ask<DeliveryDocument>(`/v1/deliveries/${encodeURIComponent(id)}/redeliver`, { method: 'POST' });
    again();
  };
  return (
    <Table
      caption="Messages, the newest first"
      rows={rows}
      keyOf={({ id }) => id}
      columns={[
        { name: 'State', of: ({ status }) => <State of={MARKS[status] ?? 'queued'} word={status} /> },
        { name: 'Event', of: ({ type }) => <code>{visibleLine(type, 40)}</code> },
        {
          name: 'Answered',
          of: ({ answered, problem }) => <Name text={problem ?? (answered === null ? '–' : String(answered))} />,
        },
        { name: 'Attempts', number: true, of: ({ attempts }) => exact(attempts) },
        { name: 'Made', number: true, of: ({ created_at: at }) => <Time at={at} /> },
        { name: 'Next try', number: true, of: ({ next_attempt_at: at }) => <Time at={at} /> },
        {
          name: 'Do',
          of: ({ id, status }) =>
            may('tenant_admin') && status !== 'pending' ? (
              <Act label="Send again" act={() => redeliver(id)} />
            ) : (
              <span class="faint">–</span>
            ),
        },
      ]}
    />
  );
}
