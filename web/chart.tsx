import type { JSX } from 'preact';
import { moment } from './format.ts';

const WIDTH = 720;

interface Series {
  readonly name: string;
  /** The class that gives it its colour. */
  readonly state: string;
  readonly values: readonly number[];
  readonly kind: 'area' | 'dashes' | 'bars';
}

/** The path of a line through the values, over the whole width. */
function line(values: readonly number[], most: number, height: number): string {
  if (values.length === 0) return `M0 ${height}`;
  const step = values.length > 1 ? WIDTH / (values.length - 1) : 0;
  return values
    .map((value, at) => `${at === 0 ? 'M' : 'L'}${(at * step).toFixed(1)} ${yOf(value, most, height)}`)
    .join('');
}

const yOf = (value: number, most: number, height: number) =>
  (height - (most === 0 ? 0 : (value / most) * (height - 2)) - 1).toFixed(1);

/** A number at or above this one with few digits, for the top of an axis. */
export function roundUp(value: number): number {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 2.5, 5, 10].find((factor) => factor * unit >= value) ?? 10) * unit;
}

/** A small curve that says whether it goes up or down; its figure stands above it. */
export function Spark(props: {
  readonly label: string;
  readonly state: string;
  readonly values: readonly number[];
}): JSX.Element {
  const { label, state, values } = props;
  const most = Math.max(0, ...values);
  const path = line(values, most, 28);
  return (
    <svg class={`spark ${state}`} viewBox={`0 0 ${WIDTH} 28`} preserveAspectRatio="none" role="img" aria-label={label}>
      <path class="wash" d={`${path}L${WIDTH} 28L0 28z`} />
      <path class="curve" d={path} vector-effect="non-scaling-stroke" />
    </svg>
  );
}

interface ChartProps {
  readonly label: string;
  readonly at: readonly string[];
  readonly series: readonly Series[];
  readonly unit: (value: number) => string;
}

/** Curves and bars over time. Bars have a scale of their own, which the legend says. */
export function Chart({ label, at, series, unit }: ChartProps): JSX.Element {
  const height = 160;
  const most = roundUp(Math.max(0, ...series.flatMap(({ kind, values }) => (kind === 'bars' ? [] : values))));
  const ticks = [1, 0.75, 0.5, 0.25, 0];
  const times = [0, 0.25, 0.5, 0.75, 1].map((share) => at[Math.round(share * (at.length - 1))] ?? '');
  return (
    <figure class="chart">
      <div class="plot">
        <svg viewBox={`0 0 ${WIDTH} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
          {ticks.map((share) => (
            <path
              key={share}
              class="grid"
              d={`M0 ${yOf(share, 1, height)}H${WIDTH}`}
              vector-effect="non-scaling-stroke"
            />
          ))}
          {series.map((one) => (
            <Curve key={one.name} series={one} most={most} height={height} />
          ))}
        </svg>
        <ol class="yaxis" aria-hidden="true">
          {ticks.map((share) => (
            <li key={share}>{unit(share * most)}</li>
          ))}
        </ol>
      </div>
      <ol class="xaxis" aria-hidden="true">
        {times.map((time, index) => (
          <li key={time === '' ? index : time}>
            {index === 4 ? 'now' : time === '' ? '' : moment(time).replace(/:\d\d$/, '')}
          </li>
        ))}
      </ol>
      <figcaption class="legend">
        {series.map(({ name, state, kind }) => (
          <span key={name} class={state}>
            <i class={kind} />
            {name}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function Curve({
  series,
  most,
  height,
}: {
  readonly series: Series;
  readonly most: number;
  readonly height: number;
}): JSX.Element {
  const { kind, state, values } = series;
  if (kind === 'bars') {
    const top = Math.max(1, ...values);
    const step = WIDTH / Math.max(1, values.length);
    return (
      <g class={state}>
        {values.map((value, at) =>
          value === 0 ? null : (
            <rect
              key={at}
              class="bar"
              x={(at * step).toFixed(1)}
              width={Math.max(2, step - 1).toFixed(1)}
              y={(height - Math.max(4, (value / top) * height * 0.4)).toFixed(1)}
              height={Math.max(4, (value / top) * height * 0.4).toFixed(1)}
            />
          ),
        )}
      </g>
    );
  }
  const path = line(values, most, height);
  return (
    <g class={state}>
      {kind === 'area' ? <path class="wash" d={`${path}L${WIDTH} ${height}L0 ${height}z`} /> : null}
      <path class={kind === 'dashes' ? 'curve dashes' : 'curve'} d={path} vector-effect="non-scaling-stroke" />
    </g>
  );
}

/** One bar in parts, each with its share of the whole. */
export function Parts(props: {
  readonly label: string;
  readonly of: readonly { readonly name: string; readonly state: string; readonly value: number }[];
}): JSX.Element {
  const all = props.of.reduce((sum, { value }) => sum + value, 0);
  let x = 0;
  return (
    <svg class="parts" viewBox="0 0 1000 8" preserveAspectRatio="none" role="img" aria-label={props.label}>
      {props.of.map(({ name, state, value }) => {
        const width = all === 0 ? 0 : (value / all) * 1_000;
        const from = x;
        x += width;
        return <rect key={name} class={`part ${state}`} x={from} width={Math.max(0, width - 3)} height="8" />;
      })}
    </svg>
  );
}

/** A share of a whole, as a bar. */
export const Share = (props: { readonly value: number; readonly of: number; readonly state?: string }): JSX.Element => (
  <svg class="parts share" viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rail" width="1000" height="8" />
    <rect
      class={`part ${props.state ?? 'queued'}`}
      width={props.of <= 0 ? 0 : Math.min(1_000, (props.value / props.of) * 1_000)}
      height="8"
    />
  </svg>
);
