import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { KeyDocument, KeyList, NewKey, TenantDocument, TenantList } from '../../src/roles/api/admin.schemas.ts';
import type { SessionDocument } from '../../src/roles/api/session.schemas.ts';
import { ask, has, may, session } from '../api.ts';
import { exact, visibleLine } from '../format.ts';
import { Act, Command, Confirm, Empty, Head, Name, Panel, Show, State, Table, Time, useLoad } from '../parts.tsx';
import { place, to } from '../route.ts';

const GRANTABLE: readonly SessionDocument['scopes'][number][] = ['submit', 'read', 'read_all', 'tenant_admin'];

/** Tenants for the operator; their keys for those who administer them. */
export function TenantsPage(): JSX.Element {
  const name = place.value.parts[1] ?? (has('operator') ? undefined : session.value?.tenant);
  return name === undefined ? <AllTenants /> : <Keys tenant={name} key={name} />;
}

/** The names of the limits of a tenant with their numbers. */
function limitsOf({ limits }: TenantDocument): string {
  const said = Object.entries(limits).map(([name, value]) => `${name.replaceAll('_', ' ')} ${exact(Number(value))}`);
  return said.length === 0 ? 'none' : said.join(', ');
}

function AllTenants(): JSX.Element {
  const tenants = useLoad((signal) => ask<TenantList>('/v1/admin/tenants', { signal }), []);
  return (
    <>
      <Head title="Tenants and keys">
        Each tenant has keys, limits and books of its own, and sees nothing of another.
      </Head>
      <div class="panel">
        <Show loaded={tenants}>
          {({ tenants: rows }) => (
            <Table
              caption="Tenants"
              rows={rows}
              keyOf={({ name }) => name}
              columns={[
                { name: 'Tenant', of: ({ name }) => <a href={to('tenants', name)}>{name}</a> },
                {
                  name: 'State',
                  of: ({ disabled_at: at }) =>
                    at === null ? <State of="running" word="active" /> : <State of="paused" word="disabled" />,
                },
                { name: 'Limits', of: (tenant) => limitsOf(tenant) },
                { name: 'Made', number: true, of: ({ created_at: at }) => <Time at={at} /> },
                { name: 'Do', of: (tenant) => <TenantActions tenant={tenant} again={tenants.again} /> },
              ]}
            />
          )}
        </Show>
      </div>
      {may('operator') ? <NewTenant again={tenants.again} /> : null}
    </>
  );
}

function TenantActions({
  tenant,
  again,
}: {
  readonly tenant: TenantDocument;
  readonly again: () => void;
}): JSX.Element {
  // Without its own tenant nobody could sign in to take it back.
  if (!may('operator') || tenant.name === session.value?.tenant) return <span class="faint">–</span>;
  const isDisabled = tenant.disabled_at !== null;
  const change = async (body: object) => {
    await ask<TenantDocument>(`/v1/admin/tenants/${encodeURIComponent(tenant.name)}`, { method: 'PATCH', body });
    again();
  };
  return isDisabled ? (
    <Act label="Enable" act={() => change({ disabled: false })} />
  ) : (
    <Confirm
      label="Disable"
      title={`Disable ${tenant.name}?`}
      yes="Disable the tenant"
      act={() => change({ disabled: true, work: 'drain' })}
    >
      <p>Its keys stop working within two seconds. Accepted jobs go on, and its batches are cancelled.</p>
    </Confirm>
  );
}

function NewTenant({ again }: { readonly again: () => void }): JSX.Element {
  const [name, setName] = useState('');
  const make = async () => {
    await ask<TenantDocument>('/v1/admin/tenants', { method: 'POST', body: { name } });
    setName('');
    again();
  };
  return (
    <Panel title="Make a tenant">
      <div class="fields">
        <div class="field">
          <label for="tenant-name">Name: lower-case letters, digits, hyphens</label>
          <input
            id="tenant-name"
            spellcheck={false}
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </div>
        <Act label="Make it" primary disabled={name === ''} act={make} />
      </div>
    </Panel>
  );
}

/** Where the keys of a tenant stand: for the operator of any, for its administrator of their own. */
const pathsOf = (tenant: string) =>
  has('operator')
    ? { all: `/v1/admin/tenants/${encodeURIComponent(tenant)}/keys`, one: '/v1/admin/keys' }
    : { all: '/v1/keys', one: '/v1/keys' };

function Keys({ tenant }: { readonly tenant: string }): JSX.Element {
  const { all } = pathsOf(tenant);
  const keys = useLoad((signal) => ask<KeyList>(all, { signal }), [all]);
  const mayChange = has('operator') ? may('operator') : may('tenant_admin');
  return (
    <>
      {has('operator') ? (
        <p class="crumbs">
          <a href={to('tenants')}>Tenants</a> / {visibleLine(tenant, 80)}
        </p>
      ) : null}
      <Head title={`Keys of ${visibleLine(tenant, 80)}`}>
        A key has the scopes that it was given, and no others. Its text is shown once.
      </Head>
      <div class="panel">
        <Show loaded={keys}>
          {({ keys: rows }) =>
            rows.length === 0 ? (
              <Empty icon="tenants" title="No key yet">
                <p>Make one below, for whoever sends this tenant’s jobs.</p>
              </Empty>
            ) : (
              <Table
                caption="Keys"
                rows={rows}
                keyOf={({ id }) => id}
                columns={[
                  { name: 'Key', of: ({ id }) => <code>{id}</code> },
                  { name: 'Name', of: ({ name }) => <Name text={name} /> },
                  { name: 'Scopes', of: ({ scopes }) => scopes.join(', ') },
                  { name: 'State', of: (key) => <KeyState of={key} /> },
                  { name: 'Made', number: true, of: ({ created_at: at }) => <Time at={at} /> },
                  {
                    name: 'Ends',
                    number: true,
                    of: ({ expires_at: at }) => (at === null ? 'never' : <Time at={at} />),
                  },
                  {
                    name: 'Do',
                    of: (key) =>
                      mayChange ? (
                        <KeyActions of={key} tenant={tenant} again={keys.again} />
                      ) : (
                        <span class="faint">–</span>
                      ),
                  },
                ]}
              />
            )
          }
        </Show>
      </div>
      {mayChange ? <MakeKey tenant={tenant} again={keys.again} /> : null}
    </>
  );
}

function KeyState({ of: { revoked_at, replaced_by, expires_at } }: { readonly of: KeyDocument }): JSX.Element {
  if (revoked_at !== null) return <State of="paused" word="revoked" />;
  if (expires_at !== null && Date.parse(expires_at) <= Date.now()) return <State of="expired" word="expired" />;
  return replaced_by === null ? <State of="running" word="active" /> : <State of="draining" word="replaced" />;
}

function KeyActions(props: {
  readonly of: KeyDocument;
  readonly tenant: string;
  readonly again: () => void;
}): JSX.Element {
  const { id, revoked_at, name } = props.of;
  if (revoked_at !== null) return <span class="faint">–</span>;
  const isOwn = id === session.value?.key;
  const revoke = async () => {
    await ask<KeyDocument>(`${pathsOf(props.tenant).one}/${id}`, { method: 'DELETE' });
    props.again();
  };
  return (
    <Confirm label="Revoke" title={`Revoke the key ${id}?`} yes="Revoke the key" act={revoke}>
      <p>
        <Name text={name} /> stops working within two seconds, for good. What it has submitted goes on.
      </p>
      {isOwn ? (
        <p>
          <b>You are signed in with it: your session ends with it.</b>
        </p>
      ) : null}
    </Confirm>
  );
}

function MakeKey({ tenant, again }: { readonly tenant: string; readonly again: () => void }): JSX.Element {
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<readonly string[]>(['submit', 'read']);
  const [made, setMade] = useState<NewKey>();
  const toggle = (scope: string) =>
    setScopes(scopes.includes(scope) ? scopes.filter((one) => one !== scope) : [...scopes, scope]);
  const make = async () => {
    setMade(await ask<NewKey>(pathsOf(tenant).all, { method: 'POST', body: { name, scopes } }));
    again();
  };
  return (
    <Panel title="Make a key">
      <div class="fields">
        <div class="field">
          <label for="key-name">Name, for people</label>
          <input id="key-name" value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </div>
        {GRANTABLE.map((scope) => (
          <label key={scope} class="check">
            <input type="checkbox" checked={scopes.includes(scope)} onChange={() => toggle(scope)} />
            {scope}
          </label>
        ))}
        <Act label="Make it" primary disabled={scopes.length === 0} act={make} />
      </div>
      {made === undefined ? null : (
        <div aria-live="polite">
          <p>
            <b>This is the key. It is shown here and never again.</b>
          </p>
          <Command text={made.key} />
        </div>
      )}
    </Panel>
  );
}
