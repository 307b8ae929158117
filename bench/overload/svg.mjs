// Plots as SVG, small and without a library: axes, lines and bars that a reader of the page can see in light
// and dark.
const WIDTH = 640;
const HEIGHT = 280;
const LEFT = 56;
const RIGHT = 16;
const TOP = 40;
const BOTTOM = 44;
export const COLOURS = ['#2f6fdb', '#d9622b', '#2f9e6e', '#9b59b6', '#b8860b'];

const escape = (text) => `${text}`.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const short = (number) => `${Math.round(number * 100) / 100}`;

/** Round steps that divide the way to `most` into some five parts. */
function ticksTo(most) {
  const rough = Math.max(most, 1e-9) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => Number((at * step).toPrecision(6)));
}

function frame({ title, x, y, mostX, mostY, names }, inside, xTicks = ticksTo(mostX)) {
  const [across, up] = scales(mostX, mostY);
  const parts = [
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text x="${LEFT}" y="16" font-weight="600">${escape(title)}</text>`,
    ...ticksTo(mostY).map(
      (tick) =>
        `<path d="M${LEFT} ${short(up(tick))}H${WIDTH - RIGHT}" stroke="#e3e3e3"/><text x="${LEFT - 6}" y="${short(up(tick) + 4)}" text-anchor="end">${tick}</text>`,
    ),
    ...xTicks.map(
      (tick) => `<text x="${short(across(tick))}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${tick}</text>`,
    ),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escape(x)}</text>`,
    `<text x="14" y="${(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(TOP + HEIGHT - BOTTOM) / 2})">${escape(y)}</text>`,
    ...names.map(
      (name, at) =>
        `<rect x="${LEFT + 150 * at}" y="23" width="10" height="10" fill="${COLOURS[at % COLOURS.length]}"/><text x="${LEFT + 14 + 150 * at}" y="32">${escape(name)}</text>`,
    ),
    ...inside,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui,sans-serif" font-size="11" fill="#222" role="img" aria-label="${escape(title)}">\n${parts.join('\n')}\n</svg>\n`;
}

function scales(mostX, mostY) {
  const [wide, high] = [WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
  return [
    (value) => LEFT + (wide * value) / mostX,
    (value) => HEIGHT - BOTTOM - (high * Math.min(value, mostY)) / mostY,
  ];
}

const mostOf = (values) => Math.max(1e-9, ...values.filter(Number.isFinite));

/** Lines over a common axis: `{ name, points: [[x, y]] }`; `dots` marks each point. */
export function linePlot({ title, x, y, lines, mostY, dots = false, xTicks }) {
  const points = lines.flatMap((line) => line.points);
  const bounds = {
    mostX: mostOf(points.map(([at]) => at)),
    mostY: mostY ?? 1.05 * mostOf(points.map(([, value]) => value)),
  };
  const [across, up] = scales(bounds.mostX, bounds.mostY);
  const drawn = lines.map(({ points: own }, at) => {
    const colour = COLOURS[at % COLOURS.length];
    const real = own.filter(([, value]) => Number.isFinite(value));
    const path = real
      .map(([px, py], index) => `${index === 0 ? 'M' : 'L'}${short(across(px))} ${short(up(py))}`)
      .join('');
    const marks = dots
      ? real.map(([px, py]) => `<circle cx="${short(across(px))}" cy="${short(up(py))}" r="3" fill="${colour}"/>`)
      : [];
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.6"/>${marks.join('')}`;
  });
  return frame({ title, x, y, ...bounds, names: lines.map(({ name }) => name) }, drawn, xTicks);
}

/** Points by themselves, the diagonal beside them, as for what was told against what came. */
export function scatterPlot({ title, x, y, points, most }) {
  const [across, up] = scales(most, most);
  const dots = points
    .filter(([px, py]) => px <= most && py <= most)
    .map(([px, py]) => `M${short(across(px))} ${short(up(py))}h.1`);
  return frame({ title, x, y, mostX: most, mostY: most, names: [] }, [
    `<path d="M${LEFT} ${HEIGHT - BOTTOM}L${WIDTH - RIGHT} ${TOP}" stroke="#999" stroke-dasharray="4 4"/>`,
    `<path d="${dots.join('')}" stroke="${COLOURS[0]}" stroke-width="3" stroke-linecap="round" opacity=".4"/>`,
  ]);
}
