import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { ShardGaugeName } from '../../ground/metrics/metric-table.ts';
import type { Output } from './output.ts';

const EVERY_MS = 60_000;
const ANSWER_MS = 5_000;

/** What is told of a running installation. */
interface News {
  readonly finished: number;
  readonly open: number;
  readonly workers: number;
  readonly attestors: number;
}

/**
 * Says once a minute what an installation does, where that has changed since the last line. Resolves when
 * `signal` says so; an API that does not answer is said once, and is no reason to stop.
 */
export async function tellNews(url: string, out: Output, signal: AbortSignal, everyMs = EVERY_MS): Promise<void> {
  let last = '';
  while (await hasSlept(everyMs, signal)) {
    const line = await look(url).then(lineOf, (error: unknown) => `no answer   ${messageOf(error)}`);
    if (line !== last) out.say(line);
    last = line;
  }
}

/** Whether the whole time passed before the signal came. */
async function hasSlept(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}

async function look(url: string): Promise<News> {
  const response = await fetch(`${url}/metrics/shard`, { signal: AbortSignal.timeout(ANSWER_MS) });
  if (!response.ok) throw new Error(`the API answers ${response.status}`);
  const text = await response.text();
  const valueOf = (name: ShardGaugeName) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  return {
    finished: valueOf('countersign_kept_finished_jobs'),
    open: valueOf('countersign_open_jobs'),
    workers: valueOf('countersign_consuming_workers'),
    attestors: valueOf('countersign_consuming_attestors'),
  };
}

function lineOf({ finished, open, workers, attestors }: News): string {
  return `running    ${finished} jobs finished, ${open} open; ${workers} workers and ${attestors} attestors are there`;
}
