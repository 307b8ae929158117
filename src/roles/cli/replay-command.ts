import type { Command } from 'commander';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { JobDocument } from '../../proof/contract/job-document.ts';
import { fromEnvelope } from '../../proof/receipts/dsse.ts';
import { ReceiptFile } from '../../proof/receipts/receipt.ts';
import { Ticket } from '../../proof/receipts/statements.ts';
import type { ApiClient } from './api-client.ts';
import { readJson } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { Output } from './output.ts';

/** The answers differ, or there are no two to compare. */
const EXIT_DIFFERENT = 5;

/** What a replay needs of the API. */
type Api = Pick<ApiClient, 'job' | 'bytes' | 'submit' | 'events'>;

/** A job and the digest of its answer; null where it has none. */
interface Run {
  readonly job: JobDocument;
  readonly sha256: string | null;
}

/** `countersign jobs replay`: a done job's question once more, and whether the answer is the same bytes. */
export function addReplay(cli: CallerContext, jobs: Command): void {
  cli
    .remote('replay', 'ask again what a done job asked, and compare the two answers byte by byte', jobs)
    .argument('<id>', 'job id')
    .requiredOption(
      '--input <file>',
      'what it asked, as JSON in the shape of `input`: the service keeps its digest alone; - for standard input',
    )
    .action(async (id: string, options: RemoteOptions & { input: string }) => {
      const [before, now] = await replay(cli.client(options), id, readJson(options.input));
      const isSame = now.sha256 !== null && before.sha256 === now.sha256;
      const words =
        now.sha256 === null ? 'there is no second answer' : isSame ? 'the same bytes' : 'the answers differ';
      new Output(options.json === true).show({ before, now, is_same: isSame }, [
        runLine('before', before),
        runLine('now', now),
        words,
      ]);
      if (!isSame) process.exitCode = EXIT_DIFFERENT;
    });
}

/**
 * Runs a done job again with the same parameters and policy. Throws CodedError `request_invalid` where the
 * job is not done, or where the digest of the input is not the one in its ticket: nothing is run then.
 */
export async function replay(api: Api, id: string, input: unknown): Promise<[before: Run, now: Run]> {
  const before = await api.job(id);
  if (before.links.receipt === null)
    throw new CodedError('request_invalid', `The job ${id} has no confirmed answer to compare with.`, {
      hint: 'jobs that got no answer: countersign jobs retry',
    });
  const asked = ticketOf(await api.bytes(before.links.receipt));
  if (asked.subject[0].digest.sha256 !== sha256Hex(JSON.stringify(input)))
    throw new CodedError(
      'request_invalid',
      'This input is not what the job asked: its digest is another. Nothing was run.',
    );
  const { model, task, params, policy } = asked.predicate;
  const { id: again } = await api.submit({ model: model.name, task, input, params, attestation: policy });
  // The stream ends with the job.
  for await (const _event of api.events(again));
  return [await runOf(api, before), await runOf(api, await api.job(again))];
}

function ticketOf(receipt: Buffer): Ticket {
  const signed = fromEnvelope(ReceiptFile.parse(JSON.parse(receipt.toString('utf8'))).ticket);
  if ('refused' in signed)
    throw new CodedError('request_invalid', `The receipt cannot be read: ${signed.refused}.`, {
      hint: 'countersign verify says more',
    });
  return Ticket.parse(JSON.parse(signed.payload.toString('utf8')));
}

async function runOf(api: Api, job: JobDocument): Promise<Run> {
  return { job, sha256: job.links.output === null ? null : sha256Hex(await api.bytes(job.links.output)) };
}

function runLine(name: string, { job, sha256 }: Run): string {
  const worker = job.attempts.at(-1)?.worker ?? '-';
  return `${name.padEnd(6)}  ${job.id}  ${job.state.padEnd(9)}  ${worker}  ${sha256 === null ? '-' : `sha256 ${sha256}`}`;
}
