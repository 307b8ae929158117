import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type {
  ErasureDocument,
  ErasureList,
  MemoryDocument,
  MemoryHistory,
} from '../../src/roles/api/memories.schemas.ts';
import { ask, may } from '../api.ts';
import { visibleLine } from '../format.ts';
import { Act, Confirm, Facts, Foreign, Id, Name, Panel, Time } from '../parts.tsx';
import { to } from '../route.ts';

/** From where a memory can come, as people say it. */
const KINDS: Readonly<Record<MemoryDocument['trust'], string>> = {
  user: 'told by a person',
  model: 'written by a model',
  tool: 'reported by a tool',
  import: 'imported',
};

interface Props {
  readonly owner: string;
  readonly memory: MemoryDocument;
  /** What is shown is to be loaded anew. */
  readonly again: () => void;
  /** Something was erased, by these receipts. */
  readonly note: (erased: readonly ErasureDocument[]) => void;
}

/** One memory: what it says, where it came from, and what its owner may do with it. */
export function Remembered({ owner, memory, again, note }: Props): JSX.Element {
  const { id, text, type, category, trust, created_at: at, version, valid_from: from, valid_to: until } = memory;
  const path = `/v1/memories/${encodeURIComponent(id)}`;
  const of = `?owner=${encodeURIComponent(owner)}`;
  const erase = async () => note((await ask<ErasureList>(`${path}${of}`, { method: 'DELETE' })).erasures);
  return (
    <Panel title={type === 'semantic' ? 'Known' : 'Happened'} aside={<Time at={at} />}>
      <div class="stack">
        <Foreign text={text} name="memory" />
        <Facts
          of={[
            ['Trust', KINDS[trust]],
            ['Category', category === null ? '–' : <Name key="category" text={category} />],
            ['Written by', memory.source === null ? '–' : <Id key="source" id={memory.source} />],
            ...(from === null && until === null
              ? []
              : ([['Holds', <Span key="holds" from={from} until={until} />]] as const)),
            ['Where from', <Origins key="origins" of={memory} />],
          ]}
        />
        {version > 1 ? <History path={`${path}/history${of}`} /> : null}
        {may('submit') ? (
          <div class="actions">
            <Correct path={`${path}${of}`} memory={memory} again={again} />
            <Confirm label="Erase" title="Erase this memory?" yes="Erase it for good" act={erase}>
              <p>
                It is erased with its history, and nobody can undo that. You get a signed receipt; it does not prove
                that nobody kept what they had read before.
              </p>
            </Confirm>
          </div>
        ) : null}
      </div>
    </Panel>
  );
}

const Span = ({ from, until }: { readonly from: string | null; readonly until: string | null }): JSX.Element => (
  <>
    {from === null ? null : (
      <>
        from <Time at={from} />{' '}
      </>
    )}
    {until === null ? null : (
      <>
        until <Time at={until} />
      </>
    )}
  </>
);

/** The ways in which it became known; of a job, with the receipt by which that is checked. */
function Origins({ of: { origins } }: { readonly of: MemoryDocument }): JSX.Element {
  return (
    <ul class="plain">
      {origins.map(({ kind, at, from, reference, rests_on: restsOn, receipt }, place) => (
        <li key={place}>
          {KINDS[kind]}
          {from === null ? '' : ', '}
          {from === null ? null : <Name text={from} />}, <Time at={at} />
          {reference === null ? null : (
            <>
              {' '}
              (<Name text={reference} />)
            </>
          )}
          {restsOn.length === 0 ? null : (
            <>
              , from{' '}
              {restsOn.map((id) => (
                <>
                  <Id key={id} id={id} />{' '}
                </>
              ))}
            </>
          )}
          {receipt === null ? null : (
            <>
              , by the job <Id id={receipt.job} href={to('jobs', receipt.job)} /> with the receipt{' '}
              <code title={receipt.sha256}>{receipt.sha256.slice(0, 12)}…</code>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}

function Correct({
  path,
  memory,
  again,
}: {
  readonly path: string;
  readonly memory: MemoryDocument;
  readonly again: () => void;
}): JSX.Element {
  const [text, setText] = useState(memory.text);
  const correct = async () => {
    await ask<MemoryDocument>(path, { method: 'PATCH', body: { text } });
    again();
  };
  return (
    <Confirm label="Correct" title="Correct this memory" yes="Save the correction" act={correct}>
      <div class="field">
        <label for={`text-${memory.id}`}>What is so</label>
        <textarea
          id={`text-${memory.id}`}
          rows={4}
          maxLength={16_384}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <small>What it said before stays in its history, until it is erased.</small>
      </div>
    </Confirm>
  );
}

/** What it said before, once somebody asks: that is a read as well. */
function History({ path }: { readonly path: string }): JSX.Element {
  const [versions, setVersions] = useState<MemoryHistory['versions']>();
  if (versions === undefined)
    return (
      <div class="actions">
        <Act
          label="Show what it said before"
          icon="eye"
          act={async () => setVersions((await ask<MemoryHistory>(path)).versions)}
        />
      </div>
    );
  return (
    <ol class="plain" aria-label="What it said, the oldest first">
      {versions.map(({ version, text, updated_at: at, trust }) => (
        <li key={version}>
          <Time at={at} />, {KINDS[trust]}: <bdi>{visibleLine(text, 400)}</bdi>
        </li>
      ))}
    </ol>
  );
}
