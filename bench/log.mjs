// The transparency log by itself: an attestor's sequencer with Redis and a disk, an audit of the result,
// proofs.
import { dist, keys, median, openArena } from './arena.mjs';

const { Sequencer } = await dist('core/confirmation/sequencer.js');
const { newJobId } = await dist('core/jobs/job-id.js');
const { auditLog } = await dist('proof/tlog/log-audit.js');
const { JobArchive } = await dist('core/jobs/job-archive.js');
const { LogFiles } = await dist('proof/tlog/log-files.js');
const { FolderTree } = await dist('ground/blobs/file-tree.js');
const { LogReader } = await dist('proof/tlog/log-reader.js');
const { publishedLog } = await dist('core/jobs/published-log.js');
const { leafHash, verifyInclusion } = await dist('proof/tlog/merkle.js');
const { parseBundle, parseTilePath } = await dist('proof/tlog/tile.js');
const { WitnessClient } = await dist('proof/tlog/witness-client.js');
const { openCheckpoint } = await dist('proof/tlog/checkpoint.js');
const { Durability } = await dist('ground/redis/durability.js');
const { createLogger } = await dist('ground/logging/logger.js');
const { encodeStored, signPayload } = await dist('proof/receipts/dsse.js');
const { Keyring } = await dist('proof/receipts/keyring.js');
const { readSigningKey } = await dist('ground/keys/key-file.js');

const BATCH = 50;
const IN_HAND = 10;

export async function benchLog({ rounds, jobs }, say) {
  const arena = await openArena();
  const policy = new Keyring(arena.keyring).logPolicy;
  const [{ key: log }] = policy.logs;
  const logFolder = new FolderTree(`${arena.folder}/log`);
  const files = new LogFiles(logFolder);
  const sequencer = new Sequencer({
    redis: arena.connect('attestor'),
    keys,
    files,
    key: readSigningKey(`${arena.folder}/log.key`),
    origin: log.name,
    trusted: [log],
    archive: new JobArchive(logFolder),
    witnesses: new WitnessClient(policy),
    durability: new Durability({ kind: 'always' }),
    logger: createLogger('bench', 'error'),
  });
  await sequencer.start();
  let published = () => undefined;
  sequencer.onPublished(() => published());
  const place = async (confirmations) => {
    const last = Math.max(...(await sequencer.place(confirmations)));
    while (Number(await arena.admin.hget(keys.log, 'size')) <= last)
      await new Promise((resolve) => {
        published = resolve;
        setTimeout(resolve, 5);
      });
  };
  try {
    const payload = Buffer.alloc(1_200, 'x');
    const verdicts = async (count) => {
      const pipeline = arena.admin.pipeline();
      const made = Array.from({ length: count }, () => {
        const id = newJobId('default', Date.now());
        pipeline.hset(keys.claims(id), 'e1', 'w t 1', 'c1', 'f 1');
        const signed = signPayload(arena.apiKey, payload);
        const file = { id, epoch: 1, tenant: 'bench', model: 'noop', ticket: encodeStored(signed), attempts: [] };
        return { file, evidence: signed, verdict: signed, output: undefined };
      });
      await pipeline.exec();
      return made;
    };
    const [rates, waits] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      const all = await verdicts(jobs);
      const started = performance.now();
      await Promise.all(
        Array.from({ length: IN_HAND }, async (_, lane) => {
          for (let at = lane * BATCH; at < jobs; at += IN_HAND * BATCH) await place(all.slice(at, at + BATCH));
        }),
      );
      rates.push(jobs / ((performance.now() - started) / 1_000));
      for (const one of await verdicts(30)) {
        const asked = performance.now();
        await place([one]);
        waits.push(performance.now() - asked);
      }
      say(`log round ${round + 1}: ${Math.round(rates.at(-1))} entries/s, alone ${median(waits).toFixed(1)} ms`);
    }
    const reader = new LogReader(files, [log], publishedLog(arena.admin, keys));
    const { checkpoint } = openCheckpoint(await reader.checkpoint(), log);
    const source = (path) => {
      const tile = parseTilePath(path);
      return tile === undefined ? reader.checkpoint().then((note) => Buffer.from(note)) : reader.tile(tile);
    };
    const audited = performance.now();
    const report = await auditLog(source, policy, []);
    const auditRate = report.size / ((performance.now() - audited) / 1_000);
    const [entry] = parseBundle(await reader.tile({ level: 'entries', index: 0, width: 1 }));
    const proof = await reader.inclusion(0, checkpoint.size);
    let verified = 0;
    const started = performance.now();
    for (; performance.now() - started < 1_000; verified += 1) verifyInclusion(leafHash(entry), 0, checkpoint, proof);
    return {
      log: {
        entries_per_second: median(rates),
        ms_to_inclusion_alone: median(waits),
        entry_bytes: entry.length + 2 + 32,
        audit_entries_per_second: auditRate,
        proof_verifications_per_second: verified,
        size: report.size,
      },
    };
  } finally {
    await sequencer.stop();
    await arena.close();
  }
}
