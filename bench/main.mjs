// Medians of interleaved rounds on this machine; see README.md beside this file for what each figure means.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { benchAudits } from './audits.mjs';
import { benchBatches } from './batches.mjs';
import { benchGateway } from './gateway.mjs';
import { benchHttp } from './http.mjs';
import { benchLedger } from './ledger.mjs';
import { benchLog } from './log.mjs';
import { benchMethods } from './methods.mjs';
import { benchOpenAi } from './openai.mjs';
import { readOptions } from './options.mjs';
import { benchPipeline } from './pipeline.mjs';
import { benchRecovery } from './recovery.mjs';
import { benchTokens } from './tokens.mjs';
import { benchWebhooks } from './webhooks.mjs';

const asked = readOptions(
  'npm run bench [-- --only NAME] [--rounds N] [--jobs N] [--waiting N] [--lines N] [--entries N] [--archived N] [--workers N] [--json FILE]',
  {
    words: ['only', 'rounds', 'jobs', 'waiting', 'lines', 'entries', 'archived', 'workers', 'json'],
  },
);
const settings = {
  rounds: Number(asked.rounds ?? 5),
  jobs: Number(asked.jobs ?? 5_000),
  waiting: Number(asked.waiting ?? 200_000),
  lines: Number(asked.lines ?? 50_000),
  entries: Number(asked.entries ?? 1_000_000),
  archived: Number(asked.archived ?? 200_000),
  workers: Number(asked.workers ?? 1_000),
};
const say = (line) => process.stderr.write(`${line}\n`);

function commit() {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

const wants = (name) => [undefined, name].includes(asked.only);
const results = {
  ...(wants('pipeline') ? await benchPipeline(settings, say) : {}),
  ...(wants('http') ? await benchHttp(settings, say) : {}),
  ...(wants('log') ? await benchLog(settings, say) : {}),
  ...(wants('methods') ? await benchMethods(settings, say) : {}),
  ...(wants('tokens') ? await benchTokens(settings, say) : {}),
  ...(wants('openai') ? await benchOpenAi(settings, say) : {}),
  ...(wants('batches') ? await benchBatches(settings, say) : {}),
  ...(wants('webhooks') ? await benchWebhooks(settings, say) : {}),
  ...(wants('ledger') ? await benchLedger(settings, say) : {}),
  ...(wants('recovery') ? await benchRecovery(settings, say) : {}),
  ...(wants('gateway') ? await benchGateway(settings, say) : {}),
  ...(wants('audits') ? benchAudits(say) : {}),
  machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`,
  commit: commit(),
};
const rounded = JSON.parse(
  JSON.stringify(results, (_, value) => (typeof value === 'number' ? Math.round(value * 1_000) / 1_000 : value)),
);
const file = asked.json;
if (file !== undefined) writeFileSync(file, `${JSON.stringify(rounded, null, 2)}\n`);
process.stdout.write(`${JSON.stringify(rounded, null, 2)}\n`);
process.exit(0);
