import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type {
  ErasureDocument,
  FoundMemories,
  MemoryDocument,
  MemoryList,
  OwnerList,
  ReaderList,
} from '../../src/roles/api/memories.schemas.ts';
import { ask, has, may } from '../api.ts';
import { exact, visibleLine } from '../format.ts';
import { Icon } from '../icons.tsx';
import { Pager } from '../pager.tsx';
import { Confirm, Copy, Empty, Head, Id, Name, Panel, Show, Table, Time, useLoad } from '../parts.tsx';
import { go, place, to } from '../route.ts';
import { Remembered } from './remembered.tsx';

const PAGE = 20;
const READS = 20;
/** Each search and each correction is a read, too. */
const EVERY_MS = 3_000;

/** What this installation remembers of people, for the apps that keep it. */
export function MemoryPage(): JSX.Element {
  const owner = place.value.parts[1];
  return owner === undefined ? <Owners /> : <OfOwner owner={owner} key={owner} />;
}

function Owners(): JSX.Element {
  const [name, setName] = useState('');
  return (
    <>
      <Head title="Memory">
        What is remembered of people: where it came from, who has read it, and how it is corrected, carried away and
        erased.
      </Head>
      <Panel title="Open a memory">
        <form
          class="fields"
          onSubmit={(event) => {
            event.preventDefault();
            if (name.trim() !== '') go('memory', name.trim());
          }}
        >
          <div class="field">
            <label for="owner">Whose memory</label>
            <input
              id="owner"
              maxLength={200}
              spellcheck={false}
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </div>
          <button type="submit" class="btn primary" disabled={name.trim() === ''}>
            Open it
          </button>
        </form>
      </Panel>
      {has('read_all') ? <KnownOwners /> : null}
    </>
  );
}

function KnownOwners(): JSX.Element {
  const owners = useLoad((signal) => ask<OwnerList>('/v1/owners', { signal }), []);
  return (
    <Panel title="Whose memories your tenant keeps" flush>
      <Show loaded={owners}>
        {({ owners: names }) =>
          names.length === 0 ? (
            <Empty icon="memory" title="Nothing is remembered yet">
              <p>
                An app remembers by <code>POST /v1/memories</code>, and you by <code>countersign memory add</code>.
              </p>
            </Empty>
          ) : (
            <Table
              caption="Owners, in the order in which they came"
              rows={names}
              keyOf={(name) => name}
              columns={[
                {
                  name: 'Owner',
                  of: (name) => (
                    <a href={to('memory', name)}>
                      <Name text={name} />
                    </a>
                  ),
                },
              ]}
            />
          )
        }
      </Show>
    </Panel>
  );
}

/** What is remembered of one person. */
function OfOwner({ owner }: { readonly owner: string }): JSX.Element {
  const [query, setQuery] = useState('');
  const [erased, setErased] = useState<readonly ErasureDocument[]>([]);
  const [turn, setTurn] = useState(0);
  const note = (more: readonly ErasureDocument[]) => {
    setErased((before) => [...before, ...more]);
    setTurn((before) => before + 1);
  };
  return (
    <>
      <p class="crumbs">
        <a href={to('memory')}>Memory</a> / {visibleLine(owner, 80)}
      </p>
      <OwnerHead owner={owner} note={note} />
      <Receipts of={erased} />
      <SearchField search={setQuery} />
      <div class="columns">
        {query === '' ? (
          <Listed owner={owner} turn={turn} note={note} />
        ) : (
          <Found owner={owner} query={query} turn={turn} note={note} />
        )}
        {has('read_all') ? <Readers owner={owner} turn={turn} /> : <div />}
      </div>
    </>
  );
}

type Noting = (more: readonly ErasureDocument[]) => void;

function OwnerHead({ owner, note }: { readonly owner: string; readonly note: Noting }): JSX.Element {
  const eraseAll = async () => {
    note([await ask<ErasureDocument>(`/v1/owners/${encodeURIComponent(owner)}`, { method: 'DELETE' })]);
  };
  return (
    <Head
      title={<Name text={owner} />}
      actions={
        <>
          <a class="btn" href={`/v1/memories/export?owner=${encodeURIComponent(owner)}`} download>
            <Icon name="save" />
            Carry it away
          </a>
          {may('tenant_admin') ? (
            <Confirm label="Erase all" title="Erase this whole memory?" yes="Erase it for good" act={eraseAll}>
              <p>
                Everything that is remembered of <Name text={owner} /> is erased, with its histories. Nobody can undo
                it. You get a signed receipt that says what was erased, and what that does not prove.
              </p>
            </Confirm>
          ) : null}
        </>
      }
    >
      What is known, where from, and who has read it. A look at this page is noted as well.
    </Head>
  );
}

function Receipts({ of }: { readonly of: readonly ErasureDocument[] }): JSX.Element | null {
  if (of.length === 0) return null;
  return (
    <Panel title="Erased, with a signed receipt">
      <ul class="plain" aria-live="polite">
        {of.map((one) => (
          <li key={one.erasure}>
            <Id id={one.erasure} /> <code class="faint">{one.sha256.slice(0, 16)}…</code>{' '}
            <Copy text={JSON.stringify(one)} label="Copy the receipt" />
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function SearchField({ search }: { readonly search: (query: string) => void }): JSX.Element {
  const [text, setText] = useState('');
  return (
    <form
      class="fields memory-search"
      role="search"
      aria-label="In this memory"
      onSubmit={(event) => {
        event.preventDefault();
        search(text.trim());
      }}
    >
      <div class="field">
        <label for="memory-query">Search by meaning and by words</label>
        <input
          id="memory-query"
          type="search"
          maxLength={1_000}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </div>
      <button type="submit" class="btn">
        Search
      </button>
    </form>
  );
}

interface Shown {
  readonly owner: string;
  /** Grows when something was changed. */
  readonly turn: number;
  readonly note: Noting;
}

function Listed({ owner, turn, note }: Shown): JSX.Element {
  const [before, setBefore] = useState<readonly string[]>([]);
  const last = before.at(-1);
  const page = `owner=${encodeURIComponent(owner)}&limit=${PAGE}${last === undefined ? '' : `&before=${last}`}`;
  const listed = useLoad((signal) => ask<MemoryList>(`/v1/memories?${page}`, { signal }), [page, turn]);
  return (
    <section aria-label="What is remembered">
      <Show loaded={listed}>
        {({ memories, next }) => (
          <>
            <Cards {...{ owner, note, memories }} again={listed.again} empty="Nothing is remembered here" />
            {before.length === 0 && next === null ? null : (
              <Pager turned={before} next={next} size={PAGE} turn={setBefore} />
            )}
          </>
        )}
      </Show>
    </section>
  );
}

function Found({ owner, query, turn, note }: Shown & { readonly query: string }): JSX.Element {
  const found = useLoad(
    (signal) =>
      ask<FoundMemories>('/v1/memories/search', { method: 'POST', body: { owner, query, limit: PAGE }, signal }),
    [owner, query, turn],
  );
  return (
    <section aria-label="What was found">
      <Show loaded={found}>
        {({ results }) => (
          <Cards
            {...{ owner, note }}
            memories={results.map(({ memory }) => memory)}
            again={found.again}
            empty="Nothing that is remembered answers this"
          />
        )}
      </Show>
    </section>
  );
}

function Cards({
  owner,
  memories,
  again,
  note,
  empty,
}: {
  readonly owner: string;
  readonly memories: readonly MemoryDocument[];
  readonly again: () => void;
  readonly note: Noting;
  readonly empty: string;
}): JSX.Element {
  if (memories.length > 0)
    return (
      <>
        {memories.map((memory) => (
          <Remembered key={`${memory.id} ${memory.version}`} {...{ owner, memory, again, note }} />
        ))}
      </>
    );
  return (
    <div class="panel">
      <Empty icon="memory" title={empty}>
        <p>
          An app remembers by <code>POST /v1/memories</code>. With a key that reads its own work alone, this page shows
          what that key has written.
        </p>
      </Empty>
    </div>
  );
}

function Readers({ owner, turn }: { readonly owner: string; readonly turn: number }): JSX.Element {
  const readers = useLoad(
    (signal) => ask<ReaderList>(`/v1/owners/${encodeURIComponent(owner)}/readers?limit=${READS}`, { signal }),
    [owner, turn],
    EVERY_MS,
  );
  return (
    <div>
      <Panel title="Who has read it" aside={`the newest ${READS}`} flush>
        <Show loaded={readers}>
          {({ reads }) =>
            reads.length === 0 ? (
              <Empty icon="eye" title="Nobody has read it yet">
                <p>Each look at a memory, each search and each export is noted here.</p>
              </Empty>
            ) : (
              <Table
                caption="Reads, the newest first"
                rows={reads}
                keyOf={({ number }) => String(number)}
                columns={[
                  { name: 'When', of: ({ at }) => <Time at={at} /> },
                  { name: 'By', of: ({ by }) => <Id id={by} /> },
                  { name: 'How', of: ({ action }) => visibleLine(action, 20) },
                  { name: 'Memories', number: true, of: ({ memories }) => exact(memories.length) },
                ]}
              />
            )
          }
        </Show>
      </Panel>
    </div>
  );
}
