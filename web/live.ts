import { batch, signal } from '@preact/signals';
import type { Overview, Tick, VerdictRow, WorkerRow } from '../src/roles/api/overview.schemas.ts';
import { ask, findSession, session } from './api.ts';

/** The installation as it was last told. Undefined before it was. */
export const tick = signal<Tick | undefined>(undefined);
export const workers = signal<readonly WorkerRow[]>([]);
export const verdicts = signal<readonly VerdictRow[]>([]);
/** When the last tick came, by the clock of this browser, in ms; undefined before the first. */
export const toldAt = signal<number | undefined>(undefined);
/** The clock of this page, moved once a second while it is looked at. */
export const now = signal(Date.now());

/** What is shown is called old when nothing was told for so long. */
export const STALE_MS = 3_000;
const MAX_VERDICTS = 20;
const AGAIN_MS = 2_000;

interface WorkersEvent {
  readonly all: boolean;
  readonly set: readonly WorkerRow[];
  readonly gone: readonly string[];
}

// What the server sends gets its type here and nowhere else.
const tickIn = (event: MessageEvent) => JSON.parse(String(event.data)) as Tick;
const workersIn = (event: MessageEvent) => JSON.parse(String(event.data)) as WorkersEvent;
const verdictsIn = (event: MessageEvent) => JSON.parse(String(event.data)) as VerdictRow[];

let source: EventSource | undefined;

/**
 * Follows the installation until `stop` is called. The browser connects again by itself where a connection
 * breaks, and is sent everything then; where the server has refused it, this does.
 */
export function follow(): () => void {
  let again = 0;
  const clock = setInterval(() => (now.value = Date.now()), 1_000);
  const open = () => {
    source = new EventSource('/v1/admin/live');
    source.addEventListener('tick', (event) =>
      batch(() => {
        tick.value = tickIn(event);
        toldAt.value = Date.now();
        now.value = Date.now();
      }),
    );
    source.addEventListener('workers', (event) => {
      const { all, set, gone } = workersIn(event);
      const rows = new Map(all ? [] : workers.value.map((row) => [row.id, row]));
      for (const id of gone) rows.delete(id);
      for (const row of set) rows.set(row.id, row);
      workers.value = [...rows.values()];
    });
    source.addEventListener('verdicts', (event) => {
      const news = verdictsIn(event);
      const known = new Set(news.map(({ job }) => job));
      verdicts.value = [...news, ...verdicts.value.filter(({ job }) => !known.has(job))].slice(0, MAX_VERDICTS);
    });
    source.addEventListener('error', () => {
      if (source?.readyState !== EventSource.CLOSED) return;
      again = window.setTimeout(() => void reconnect(), AGAIN_MS);
    });
  };
  const reconnect = async () => {
    // A session that has ended is refused too; then the sign-in is next, and not another try.
    await findSession().catch(() => undefined);
    if (session.value !== null) open();
  };
  open();
  return () => {
    clearInterval(clock);
    clearTimeout(again);
    source?.close();
    source = undefined;
  };
}

/** What was there before the page was opened. */
export async function firstLook(signal?: AbortSignal): Promise<Overview> {
  const overview = await ask<Overview>('/v1/admin/overview', signal === undefined ? {} : { signal });
  batch(() => {
    tick.value ??= overview.tick;
    if (workers.value.length === 0) workers.value = overview.workers;
    const known = new Set(verdicts.value.map(({ job }) => job));
    verdicts.value = [...verdicts.value, ...overview.verdicts.filter(({ job }) => !known.has(job))].slice(
      0,
      MAX_VERDICTS,
    );
  });
  return overview;
}
