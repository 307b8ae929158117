// Entries of the ledger: how fast a courier enters the ends of priced jobs, and how fast `countersign ledger
// check` goes through a ledger, with the memory of each.
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeArchivedLedger } from './archived-ledger.mjs';
import { dist, keys, memoryMb, MODEL, openAdmission, openArena, pause } from './arena.mjs';

const { newJobId } = await dist('core/jobs/job-id.js');
const { ledgerEntry, monthOf } = await dist('surfaces/ledger/ledger-entry.js');

const PRICES = { version: 1, id: 'v1', currency: 'EUR', models: { noop: { input: 1_000_000, output: 1_000_000 } } };
/** Small, so that a check whose memory grew with the ledger would not come to its end. */
const HEAP = '--max-old-space-size=128';
const ENTRIES_AT_ONCE = 1_000;

/** Jobs that have ended while no courier ran, entered by one that comes. */
async function entering(arena, jobs) {
  await Promise.all([arena.role('worker'), arena.role('attestor')]);
  const { admission, close } = await openAdmission(arena, MODEL, PRICES);
  const submitter = { tenant: 'bench', keyId: 'bench', limits: { tenant: {}, key: {} } };
  for (let sent = 0; sent < jobs; sent += 100)
    await Promise.all(
      Array.from({ length: Math.min(100, jobs - sent) }, (_, n) =>
        admission.submit(submitter, { model: 'noop', task: 'completion', input: { prompt: `${sent} ${n}` } }),
      ),
    );
  while ((await arena.admin.zcard(keys.ended)) < jobs) await pause(100);
  close();
  const courier = await arena.role('courier');
  const entered = () => arena.admin.hlen(keys.ledger('bench', monthOf(Date.now())));
  const [began, before] = [performance.now(), await entered()];
  while ((await entered()) < jobs) await pause(10);
  return {
    jobs,
    entries_per_second: ((jobs - before) * 1_000) / (performance.now() - began),
    courier_rss_mb: memoryMb(courier.child.pid).most,
  };
}

/** A ledger as the courier leaves it, of jobs that are no longer kept. */
async function write(arena, tenant, entries) {
  const month = monthOf(Date.now());
  const price = { ...PRICES, table: { id: PRICES.id } };
  let sum = 0;
  for (let from = 0; from < entries; from += ENTRIES_AT_ONCE) {
    const fields = [];
    for (let at = from; at < Math.min(entries, from + ENTRIES_AT_ONCE); at += 1) {
      const line = { kind: 'charge', atMs: Date.now(), amount: at, key: 'bench', model: 'noop' };
      fields.push(newJobId('default', Date.now()), JSON.stringify(ledgerEntry(line, price)));
      sum += at;
    }
    await arena.admin.hset(keys.ledger(tenant, month), ...fields);
  }
  await arena.admin.sadd(keys.ledgers, `${tenant} ${month}`);
  await arena.admin.hset(keys.account(tenant), 'EUR:spent', sum);
  await arena.admin.hset(keys.spent(tenant, month), 'EUR', sum);
}

/** What `countersign ledger check` takes for this tenant. */
async function checking(arena, tenant, entries) {
  const root = new URL('..', import.meta.url).pathname;
  const began = performance.now();
  const child = spawn(
    process.execPath,
    [
      HEAP,
      join(root, 'dist/roles/cli/main.js'),
      '--data',
      arena.folder,
      'ledger',
      'check',
      '--json',
      '--tenant',
      tenant,
    ],
    {
      env: {
        PATH: process.env.PATH,
        HOME: arena.folder,
        TMPDIR: tmpdir(),
        COUNTERSIGN_REDIS_URL: arena.server.url,
        COUNTERSIGN_REDIS_USER: 'api',
        COUNTERSIGN_REDIS_PASSWORD_FILE: join(arena.folder, 'redis.password'),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  child.stdout.on('data', (piece) => (text += piece));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  let most = 0;
  const watching = setInterval(() => {
    try {
      most = Math.max(most, memoryMb(child.pid).most);
    } catch {
      // It has ended.
    }
  }, 20);
  const code = await exited;
  clearInterval(watching);
  const { audits } = JSON.parse(text);
  if (code !== 0 || audits[0].entries !== entries) throw new Error(text.slice(0, 2_000));
  const { compared } = audits[0];
  return { entries, compared, entries_per_second: (entries * 1_000) / (performance.now() - began), rss_mb: most };
}

/** Charges whose receipts only the archive has. */
async function checkingArchived(archived, say) {
  const arena = await openArena();
  try {
    await writeArchivedLedger(arena, archived, say);
    const checked = await checking(arena, 'archived', archived);
    if (checked.compared !== archived) throw new Error(`${checked.compared} of ${archived} were compared.`);
    return { ...checked, archived: true };
  } finally {
    await arena.close();
  }
}

/** `archived`: receipts in the archive, in two sizes of which one is a tenth; with 0 jobs nothing else. */
export async function benchLedger({ jobs, entries, archived }, say) {
  const checked = [];
  for (const count of [Math.ceil(archived / 10), archived]) checked.push(await checkingArchived(count, say));
  for (const one of checked)
    say(
      `ledger: ${one.entries} archived at ${one.entries_per_second.toFixed(0)} entries/s, ${one.rss_mb.toFixed(0)} MB`,
    );
  if (jobs === 0) return { ledger: { checked } };
  const arena = await openArena();
  try {
    const entered = await entering(arena, jobs);
    say(`ledger: ${entered.entries_per_second.toFixed(0)} entries/s entered`);
    checked.push(await checking(arena, 'bench', jobs));
    for (const count of [Math.ceil(entries / 10), entries]) {
      await write(arena, `books-${count}`, count);
      checked.push(await checking(arena, `books-${count}`, count));
    }
    for (const one of checked)
      say(`ledger: ${one.entries} entries checked at ${one.entries_per_second.toFixed(0)} entries/s`);
    return { ledger: { entered, checked } };
  } finally {
    await arena.close();
  }
}
