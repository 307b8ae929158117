import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { UsageDocument } from '../../src/roles/api/usage.schemas.ts';
import { ask } from '../api.ts';
import { Chart } from '../chart.tsx';
import { count, exact, money } from '../format.ts';
import { Empty, Head, Name, Panel, Show, Table, useLoad } from '../parts.tsx';

const SPANS = [
  [1, 'today'],
  [7, '7 days'],
  [30, '30 days'],
] as const;

const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);

interface Sums {
  readonly jobs: number;
  readonly done: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly charged: number;
}

/** What the tenant used and what it was charged. Days are those of UTC, as in the books. */
export function UsagePage(): JSX.Element {
  const [days, setDays] = useState(7);
  const to = day(Date.now());
  const from = day(Date.now() - (days - 1) * 86_400_000);
  const usage = useLoad(
    (signal) => ask<UsageDocument>(`/v1/usage?from=${from}&to=${to}&group_by=day,model`, { signal }),
    [from, to],
    30_000,
  );
  return (
    <>
      <Head
        title="Usage"
        actions={
          <div class="segments" role="group" aria-label="Span">
            {SPANS.map(([length, label]) => (
              <button key={label} type="button" aria-pressed={days === length} onClick={() => setDays(length)}>
                {label}
              </button>
            ))}
          </div>
        }
      >
        What your tenant used, and what it was charged. Only what was confirmed is charged. Days are those of UTC, as in
        the books.
      </Head>
      <Show loaded={usage}>{(document) => <Used document={document} from={from} days={days} />}</Show>
    </>
  );
}

function Used(props: { readonly document: UsageDocument; readonly from: string; readonly days: number }): JSX.Element {
  const { rows, accounts } = props.document;
  const all = Array.from({ length: props.days }, (_, at) => day(Date.parse(props.from) + at * 86_400_000));
  const perDay = all.map((one) => sumOf(rows.filter((row) => row.day === one)));
  if (rows.length === 0)
    return (
      <section class="panel" aria-label="Usage">
        <Empty icon="usage" title="Nothing was used in this time">
          <p>Jobs are entered here within a second of their end. Choose a longer span, or send a job.</p>
        </Empty>
      </section>
    );
  return (
    <div class="grid">
      {all.length === 1 ? null : (
        <Panel title="Jobs a day" span={12}>
          <Chart
            label="Jobs ended and confirmed, by day"
            at={all}
            unit={count}
            series={[
              { name: 'confirmed', state: 'done', kind: 'area', values: perDay.map(({ done }) => done) },
              { name: 'ended', state: 'queued', kind: 'dashes', values: perDay.map(({ jobs }) => jobs) },
            ]}
          />
        </Panel>
      )}
      <Panel title="By model" span={8} flush>
        <ByModel rows={rows} />
      </Panel>
      <Panel title="Account" span={4} flush>
        {accounts.length === 0 ? (
          <Empty icon="usage" title="Nothing was ever charged">
            <p>The models that you used have no price.</p>
          </Empty>
        ) : (
          <Table
            caption="Accounts"
            rows={accounts}
            keyOf={({ currency }) => currency}
            columns={[
              { name: 'Currency', of: ({ currency }) => currency },
              { name: 'Spent', number: true, of: ({ spent, currency }) => money(spent, currency) },
              { name: 'Held', number: true, of: ({ held, currency }) => money(held, currency) },
            ]}
          />
        )}
      </Panel>
    </div>
  );
}

function sumOf(rows: UsageDocument['rows']): Sums {
  const sum = (of: keyof Sums) => rows.reduce((all, row) => all + row[of], 0);
  return {
    jobs: sum('jobs'),
    done: sum('done'),
    input_tokens: sum('input_tokens'),
    output_tokens: sum('output_tokens'),
    charged: sum('charged'),
  };
}

function ByModel({ rows }: { readonly rows: UsageDocument['rows'] }): JSX.Element {
  const names = [...new Set(rows.map(({ model, currency }) => `${model ?? ''} ${currency ?? ''}`))];
  const byModel = names.map((name) => {
    const [model = '', currency = ''] = name.split(' ');
    const own = rows.filter((row) => row.model === model && (row.currency ?? '') === currency);
    return { model, currency, ...sumOf(own) };
  });
  return (
    <Table
      caption="Usage by model"
      rows={byModel.toSorted((a, b) => b.jobs - a.jobs)}
      keyOf={({ model, currency }) => `${model} ${currency}`}
      columns={[
        { name: 'Model', of: ({ model }) => <Name text={model} /> },
        { name: 'Jobs', number: true, of: ({ jobs }) => exact(jobs) },
        { name: 'Confirmed', number: true, of: ({ done }) => exact(done) },
        { name: 'Tokens in', number: true, of: ({ input_tokens: tokens }) => count(tokens) },
        { name: 'Tokens out', number: true, of: ({ output_tokens: tokens }) => count(tokens) },
        {
          name: 'Charged',
          number: true,
          of: ({ charged, currency }) => (currency === '' ? 'no price' : money(charged, currency)),
        },
      ]}
    />
  );
}
