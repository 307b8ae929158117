import { join } from 'node:path';
import { Keyring } from '../../src/proof/receipts/keyring.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import type { JobDocument } from '../../src/proof/contract/job-document.ts';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import { auditLedger } from '../../src/surfaces/ledger/ledger-audit.ts';
import { booksOf } from '../support/books.ts';
import { until, type Client, type Pipeline } from '../support/pipeline.ts';
import type { Seen, Settled } from './invariants.ts';

/** A worker stops by itself at the deadline, and is believed for so long after it (`sweep.ts`), ms. */
const STOP_GRACE_MS = 500;

/** What is looked at in the end, beside the jobs themselves. */
export interface Looks {
  readonly pipeline: Pipeline;
  readonly client: Client;
  /** What receipts and checkpoints are verified by. */
  readonly keyring: Keyring;
  readonly settleMs: number;
  /** Whether a courier keeps books, and whether somebody listens. */
  readonly hasBooks: boolean;
  readonly isTold: boolean;
  /** Checkpoints that were seen: each has to lead to the one that stands in the end. */
  readonly checkpoints: readonly string[];
}

/** What stands once everything has ended, or had time to. */
export async function settle(looks: Looks, history: readonly Seen[]): Promise<Settled> {
  const { pipeline, client, settleMs, isTold } = looks;
  client.url = pipeline.url;
  const { admin, keys } = pipeline.redis;
  const hasEnded = () => Promise.all([admin.zcard(keys.open), admin.zcard(keys.unsealed)]);
  const begin = performance.now();
  const within = (look: () => Promise<boolean>) =>
    until(look, Math.max(0, settleMs - (performance.now() - begin))).catch(() => undefined);
  await within(async () => (await hasEnded()).every((count) => count === 0));
  if (looks.hasBooks) await within(() => areEntered(pipeline));
  const listed = [...(await admin.zrange(keys.ended, '0', '-1')), ...(await admin.zrange(keys.open, '0', '-1'))];
  const accepted = history.flatMap((seen) => (seen.kind === 'accepted' ? [seen.job] : []));
  const all = [...new Set([...listed, ...accepted])];
  const isHeard = (id: string) => history.some((seen) => seen.kind === 'told' && seen.isTaken && seen.job === id);
  if (isTold) await within(() => Promise.resolve(all.every(isHeard)));
  const jobs: Settled['jobs'][number][] = [];
  const refused: string[] = [];
  for (const id of all) {
    const job = await client.job(id).catch(() => undefined);
    if (job === undefined) continue;
    const fault = await receiptFault(looks, id);
    if (job.state === 'done' && fault !== undefined) refused.push(`the receipt of ${id} is refused: ${fault}`);
    jobs.push(ended(job, fault === undefined));
  }
  const entries = await admin.lrange(keys.logTail, 0, -1);
  return {
    jobs,
    places: entries.filter((entry) => entry.includes('/verdict"')).length,
    isTold,
    problems: [
      ...refused,
      ...(await logProblems(looks)),
      ...(looks.hasBooks ? await bookProblems(pipeline, jobs) : []),
    ],
  };
}

function ended(job: JobDocument, hasReceipt: boolean): Settled['jobs'][number] {
  const { id, state, deadline, ended_at: endedAt, attempts } = job;
  const committed = attempts.at(-1)?.committed_at ?? null;
  return {
    job: id,
    state,
    isFinal: endedAt !== null,
    hasReceipt,
    attempts: attempts.filter(({ closed }) => closed?.why !== 'void').length,
    isLate: state === 'done' && committed !== null && Date.parse(committed) > Date.parse(deadline) + STOP_GRACE_MS,
  };
}

/** Why its receipt does not verify with the output that is served, if it does not. */
async function receiptFault({ client, keyring }: Looks, id: string): Promise<string | undefined> {
  try {
    verifyReceipt(await client.receipt(id), keyring, { output: await client.output(id) });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Whether the courier has come to the newest end. */
async function areEntered({ redis }: Pipeline): Promise<boolean> {
  const [, newest = '0'] = await redis.admin.zrange(redis.keys.ended, '-1', '-1', 'WITHSCORES');
  return Number(await redis.admin.hget(redis.keys.jobEnds, 'cursor')) >= Number(newest);
}

/** What an auditor finds who has kept the checkpoints that were seen. */
async function logProblems({ client, keyring, checkpoints }: Looks): Promise<string[]> {
  const source = (path: string) =>
    client
      .fetch(`/log/${path}`)
      .then(async (response) => (response.ok ? Buffer.from(await response.arrayBuffer()) : undefined));
  try {
    await auditLog(source, keyring.logPolicy, [...checkpoints]);
    return [];
  } catch (error) {
    return [`the log does not hold what it showed: ${error instanceof Error ? error.message : String(error)}`];
  }
}

/** What an auditor of the ledger finds, and whether as many jobs are counted as there are. */
async function bookProblems(pipeline: Pipeline, jobs: Settled['jobs']): Promise<string[]> {
  const { redis, keyring, folder } = pipeline;
  const books = booksOf(redis.client('api'), redis.keys, {
    keyring,
    blobs: join(folder, 'blobs'),
    log: join(folder, 'log'),
  });
  const { problems } = await auditLedger(books, 'acme');
  // The work may have begun before midnight.
  const [from = '', to = ''] = [Date.now() - 86_400_000, Date.now()].map((ms) =>
    new Date(ms).toISOString().slice(0, 10),
  );
  const rows = await books.usage.usage('acme', { from, to, groupBy: [] });
  const counted = rows.reduce((sum, row) => sum + row.jobs, 0);
  const real = jobs.filter(({ isFinal }) => isFinal).length;
  return [...problems, ...(counted === real ? [] : [`${counted} jobs are counted of the ${real} that have ended`])];
}
