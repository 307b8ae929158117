import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { numberOf } from './arguments.ts';
import type { CallerContext } from './caller-context.ts';
import { Output, jsonOption } from './output.ts';
import { samplesOf, topLine, topLines, type Moment } from './top.ts';

interface TopOptions {
  readonly url?: string;
  readonly every: number;
  readonly once?: boolean;
  readonly json?: boolean;
}

/** `countersign top`: pools, workers, what waits and what is confirmed, as it changes. */
export function addTopCommand(cli: CallerContext): void {
  cli.program
    .command('top')
    .description('watch pools, workers, what waits and what is confirmed; a line each time where there is no terminal')
    .option('--url <url>', 'address of the API')
    .option('--every <seconds>', 'time between two looks', numberOf, 2)
    .option('--once', 'look once')
    .addOption(jsonOption())
    .action((options: TopOptions) => watch(cli.url(options), options));
}

async function watch(url: string, { every, once, json }: TopOptions): Promise<void> {
  const out = new Output(json === true);
  let before: Moment | undefined;
  for (;;) {
    const now = await look(url);
    draw(out, now, before, once === true);
    if (once === true) return;
    before = now;
    await sleep(Math.max(1, every) * 1_000);
  }
}

function draw(out: Output, now: Moment, before: Moment | undefined, isOnce: boolean): void {
  const { metrics, ...said } = now;
  const samples = samplesOf(metrics).map(({ name, labels, value }) => ({ name, ...Object.fromEntries(labels), value }));
  if (process.stdout.isTTY && !out.json && !isOnce) process.stdout.write('\x1b[H\x1b[2J');
  out.show({ ...said, samples }, process.stdout.isTTY || isOnce ? topLines(now, before) : [topLine(now, before)]);
}

/** Throws CodedError `storage_unavailable` where no service answers. */
async function look(url: string): Promise<Moment> {
  const answer = async (path: string) => {
    try {
      return await fetch(`${url}${path}`);
    } catch (cause) {
      throw new CodedError('storage_unavailable', `No API answers at ${url}: ${messageOf(cause)}.`, {
        cause,
        hint: 'start one with: countersign up',
      });
    }
  };
  const [health, metrics, checkpoint] = await Promise.all(
    ['/health/ready', '/metrics/shard', '/log/checkpoint'].map(answer),
  );
  const { ready, detail } = (await health?.json()) as { readonly ready: boolean; readonly detail: string };
  // A log without entries has no checkpoint yet.
  const [, size = '0'] = checkpoint?.ok === true ? (await checkpoint.text()).split('\n') : [];
  return {
    ...{ atMs: Date.now(), ready, detail, logSize: Number(size) },
    metrics: metrics?.ok === true ? await metrics.text() : '',
  };
}
