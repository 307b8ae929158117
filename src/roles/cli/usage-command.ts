import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { Output } from './output.ts';

type Row = Record<string, string | number> & { jobs: number; done: number };

interface UsageDocument {
  readonly rows: readonly Row[];
  /** Millionths of the currency. */
  readonly account: { readonly spent: number; readonly held: number };
}

/** `countersign usage`: what the tenant of the API key used and what it was charged. */
export function addUsageCommand(cli: CallerContext): void {
  cli
    .remote('usage', "jobs, tokens and charges of the API key's tenant")
    .option('--from <day>', 'first day, such as 2026-11-01; by default today')
    .option('--to <day>', 'last day; by default today')
    .option('--by <list>', 'groups, comma-separated: day, key, model', 'model')
    .action(async (options: RemoteOptions & { from?: string; to?: string; by: string }) => {
      const query = new URLSearchParams({ group_by: options.by });
      if (options.from !== undefined) query.set('from', options.from);
      if (options.to !== undefined) query.set('to', options.to);
      const usage = (await cli.client(options).json(`/v1/usage?${query.toString()}`)) as UsageDocument;
      new Output(options.json === true).show(usage, [
        ...usage.rows.map(lineOf),
        `spent ${usage.account.spent}, held ${usage.account.held} (millionths)`,
      ]);
    });
}

function lineOf({ day, key, model, jobs, done, input_tokens, output_tokens, charged }: Row): string {
  return [
    ...[day, key, model].filter((part) => part !== undefined),
    `${jobs} jobs (${done} done)`,
    `${String(input_tokens)} + ${String(output_tokens)} tokens`,
    `charged ${String(charged)}`,
  ].join('  ');
}
