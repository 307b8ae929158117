// submit → done through ticket, claim, evidence, verdict and receipt, against two plain BullMQ queues.
import { Queue } from 'bullmq';
import { MODEL, dist, keys, median, openAdmission, openArena, pause, quantile } from './arena.mjs';

const { verifyReceipt, receiptFile } = await dist('proof/receipts/receipt.js');
const { parseCheckpoint } = await dist('proof/tlog/checkpoint.js');
const { JobReader } = await dist('core/jobs/job.reader.js');
const { LogFiles } = await dist('proof/tlog/log-files.js');
const { FolderTree } = await dist('ground/blobs/file-tree.js');
const { LogReader } = await dist('proof/tlog/log-reader.js');
const { publishedLog } = await dist('core/jobs/published-log.js');
const { formatProof } = await dist('proof/tlog/tlog-proof.js');
const { Keyring } = await dist('proof/receipts/keyring.js');

const WINDOW = 500;
const LOW_RATE_MS = 20;

async function ours() {
  const arena = await openArena();
  await Promise.all([
    arena.role('worker'),
    arena.role('attestor', { COUNTERSIGN_RECOMPUTE_MODELS: 'none', COUNTERSIGN_KEEP_JOBS: '1000000' }),
  ]);
  const { admission, close } = await openAdmission(arena, MODEL);
  const reader = new JobReader(arena.admin, keys, keys.open);
  return {
    arena,
    submit: async (number) =>
      (
        await admission.submit(
          { tenant: 'bench', keyId: 'bench', limits: { tenant: {}, key: {} } },
          { model: 'noop', task: 'completion', input: { prompt: `${number} ${'x'.repeat(230)}` } },
        )
      ).id,
    finished: async () => arena.admin.zcard(keys.ended),
    isDone: async (id) => (await reader.read(id))?.state === 'done',
    close,
    async receipt() {
      const [id] = await arena.admin.zrange(keys.ended, '-1', '-1');
      const { record } = await reader.read(id);
      const { key } = new Keyring(arena.keyring).logPolicy.logs[0];
      const log = new LogReader(
        new LogFiles(new FolderTree(`${arena.folder}/log`)),
        [key],
        publishedLog(arena.admin, keys),
      );
      const checkpoint = await log.checkpoint();
      const hashes = await log.inclusion(record.index, parseCheckpoint(checkpoint).size);
      const proof = formatProof({ index: record.index, hashes, checkpoint });
      const { ticket, evidence, verdict, salt } = record;
      return Buffer.from(receiptFile(ticket, evidence, verdict, { salt: salt.toString('base64'), proof }));
    },
  };
}

async function byHand() {
  const arena = await openArena();
  await Promise.all([arena.start('bench/baseline-infer.mjs', {}), arena.start('bench/baseline-attest.mjs', {})]);
  const redis = arena.connect();
  const queue = new Queue('infer', { connection: redis, prefix: 'base' });
  return {
    arena,
    close: () => redis.disconnect(),
    submit: async (number) =>
      (
        await queue.add(
          'run',
          { prompt: `${number} ${'x'.repeat(230)}` },
          { jobId: `j-${number}-${Math.random().toString(36).slice(2)}`, removeOnComplete: true },
        )
      ).id,
    finished: async () => Number((await arena.admin.get('finished')) ?? 0),
    isDone: async (id) => (await arena.admin.hget(`status:${id}`, 'state')) === 'done',
  };
}

/**
 * CPU time (ms) of everything that a side's jobs use: its processes, its Redis, and what submits them here.
 */
function cpuUsed(side) {
  const own = process.cpuUsage();
  return side.arena.cpuMs() + (own.user + own.system) / 1_000;
}

/**
 * Jobs per second with at most 500 in flight, from the first submission to the last end, and CPU (us) a job.
 */
async function throughput(side, jobs) {
  const before = await side.finished();
  const cpuBefore = cpuUsed(side);
  const started = performance.now();
  let submitted = 0;
  let done = 0;
  while (done < jobs) {
    const room = Math.min(WINDOW - (submitted - done), jobs - submitted);
    if (room > 0) {
      await Promise.all(Array.from({ length: room }, (_, index) => side.submit(submitted + index)));
      submitted += room;
    }
    done = (await side.finished()) - before;
    if (done < jobs && submitted - done >= WINDOW * 0.8) await pause(2);
    if (performance.now() - started > 120_000) throw new Error(`only ${done} of ${jobs} jobs ended`);
  }
  return {
    rate: jobs / ((performance.now() - started) / 1_000),
    cpuUs: ((cpuUsed(side) - cpuBefore) * 1_000) / jobs,
  };
}

/** Milliseconds from submission to end, one job every 20 ms. */
async function latencies(side, jobs) {
  const found = [];
  const watch = async (number) => {
    const started = performance.now();
    const id = await side.submit(number);
    while (!(await side.isDone(id))) await new Promise(setImmediate);
    found.push(performance.now() - started);
  };
  const running = [];
  for (let number = 0; number < jobs; number += 1) {
    running.push(watch(number));
    await pause(LOW_RATE_MS);
  }
  await Promise.all(running);
  return found;
}

async function counters(redis) {
  const stats = await redis.info('commandstats', 'stats', 'memory');
  const value = (name) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(stats)?.[1] ?? 0);
  const calls = [...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)]
    .filter(([, name]) => !/^(zcard|info|get|hget)$/.test(name))
    .reduce((sum, [, , count]) => sum + Number(count), 0);
  return {
    calls,
    bytes: value('total_net_input_bytes') + value('total_net_output_bytes'),
    memory: value('used_memory'),
  };
}

export async function benchPipeline({ rounds, jobs }, say) {
  const mine = await ours();
  const base = await byHand();
  try {
    await throughput(mine, 1_000);
    await throughput(base, 1_000);
    const rates = { mine: [], base: [] };
    const cpu = { mine: [], base: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (const [name, side] of Object.entries({ mine, base })) {
        const { rate, cpuUs } = await throughput(side, jobs);
        rates[name].push(rate);
        cpu[name].push(cpuUs);
      }
      const told = (name) =>
        `${Math.round(rates[name].at(-1))} jobs/s, ${Math.round(cpu[name].at(-1))} us of CPU a job`;
      say(`pipeline round ${round + 1}: ${told('mine')}; by hand ${told('base')}`);
    }
    const low = { mine: [], base: [] };
    for (let round = 0; round < rounds; round += 1) {
      low.mine.push(await latencies(mine, 150));
      low.base.push(await latencies(base, 150));
    }
    const at = (side, q) => median(low[side].map((values) => quantile(values, q)));
    const before = await counters(mine.arena.admin);
    await throughput(mine, jobs);
    await pause(1_000);
    const after = await counters(mine.arena.admin);

    const receipt = await mine.receipt();
    const keyring = new Keyring(mine.arena.keyring);
    const verifications = [];
    for (let round = 0; round < rounds; round += 1) {
      const started = performance.now();
      let count = 0;
      for (; performance.now() - started < 1_000; count += 1) verifyReceipt(receipt, keyring);
      verifications.push(count / ((performance.now() - started) / 1_000));
    }
    return {
      pipeline: {
        throughput_ratio: median(rates.mine.map((rate, index) => rate / rates.base[index])),
        jobs_per_second: median(rates.mine),
        by_hand_jobs_per_second: median(rates.base),
        cpu_ratio: median(cpu.base.map((us, index) => us / cpu.mine[index])),
        cpu_us_per_job: median(cpu.mine),
        by_hand_cpu_us_per_job: median(cpu.base),
        p50_ms: at('mine', 0.5),
        p99_ms: at('mine', 0.99),
        added_ms_p50: at('mine', 0.5) - at('base', 0.5),
        added_ms_p99: at('mine', 0.99) - at('base', 0.99),
      },
      redis: {
        commands_per_job: (after.calls - before.calls) / jobs,
        network_bytes_per_job: (after.bytes - before.bytes) / jobs,
        bytes_per_kept_job: (after.memory - before.memory) / jobs,
      },
      receipts: { verify_per_second: median(verifications), bytes: receipt.length },
    };
  } finally {
    mine.close();
    base.close();
    await mine.arena.close();
    await base.arena.close();
  }
}
