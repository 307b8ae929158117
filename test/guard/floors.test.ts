import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ROOT } from '../support/redis.ts';

/** One file that breaks each rule, and what it must not import. */
const BROKEN: Record<string, readonly [from: string, to: string]> = {
  'ground-imports-nothing-above': ['ground/json/json.ts', '../../proof/receipts/receipt.ts'],
  'proof-imports-nothing-above': ['proof/receipts/receipt.ts', '../../core/jobs/job.ts'],
  'core-imports-nothing-above': ['core/jobs/job.ts', '../../surfaces/openai/openai.ts'],
  'surfaces-import-nothing-above': ['surfaces/openai/openai.ts', '../../roles/api/api.ts'],
  'roles-import-no-other-role': ['roles/api/api.ts', '../courier/courier.ts'],
  'client-imports-proof-only': ['client/client.ts', '../ground/json/other.ts'],
  'client-reaches-no-server': ['client/other.ts', '../proof/tlog/tlog.ts'],
  'worker-never-reaches-attestor': ['core/execution/run.ts', '../registry/registry.ts'],
  'attestor-computes-in-its-child': ['roles/attestor/main.ts', '../../core/engines/load-engine.ts'],
  'folders-do-not-import-each-other': ['surfaces/ledger/ledger.ts', '../webhooks/webhook.ts'],
  'files-do-not-import-each-other': ['core/engines/one.ts', './two.ts'],
  'only-bull-and-processors-use-bullmq': ['core/catalog/catalog.ts', 'bullmq'],
};

/** What the second file of a longer way imports, and every file that only has to be there. */
const OTHERS: Record<string, string> = {
  'proof/tlog/tlog.ts': "import type { Other } from '../../ground/redis/redis.ts';\nexport type Tlog = Other;\n",
  'core/registry/registry.ts':
    "import type { Other } from '../confirmation/judge.ts';\nexport type Registry = Other;\n",
  'surfaces/webhooks/webhook.ts': "import type { Other } from '../ledger/amount.ts';\nexport type Webhook = Other;\n",
  'core/engines/load-engine.ts': 'export type Other = 1;\n',
  'core/engines/two.ts': "import type { Here } from './one.ts';\nexport type Other = Here;\n",
  'ground/redis/redis.ts': 'export type Other = 1;\n',
  'ground/json/other.ts': 'export type Other = 1;\n',
  'core/confirmation/judge.ts': 'export type Other = 1;\n',
  'surfaces/ledger/amount.ts': 'export type Other = 1;\n',
  'roles/courier/courier.ts': 'export type Other = 1;\n',
};

interface Violation {
  readonly from: string;
  readonly rule: { readonly name: string };
}

let folder = '';
let violations: readonly Violation[] = [];

/** A small house in which each rule is broken by one import of a type, and by nothing else. */
function build(): void {
  folder = mkdtempSync(join(tmpdir(), 'cs-floors-'));
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  for (const [path, text] of Object.entries(OTHERS)) write(`src/${path}`, text);
  for (const [from, to] of Object.values(BROKEN))
    write(`src/${from}`, `import type * as Forbidden from '${to}';\nexport type Here = typeof Forbidden;\n`);
  write('node_modules/bullmq/package.json', '{"name":"bullmq","version":"1.0.0","main":"index.js"}');
  write('node_modules/bullmq/index.js', '');
  for (const file of ['tsconfig.json', '.dependency-cruiser.cjs']) cpSync(join(ROOT, file), join(folder, file));
  write('package.json', '{"name":"house","type":"module","dependencies":{"bullmq":"1.0.0"}}');
}

beforeAll(() => {
  build();
  const run = spawnSync(
    process.execPath,
    [
      join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs'),
      'src',
      '--config',
      '.dependency-cruiser.cjs',
      '--output-type',
      'json',
    ],
    { cwd: folder, encoding: 'utf8', maxBuffer: 64 * 1_048_576 },
  );
  violations = (JSON.parse(run.stdout) as { summary: { violations: Violation[] } }).summary.violations;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the rules of the floors', () => {
  test('are all tried here', async () => {
    const rules = (await import(join(ROOT, '.dependency-cruiser.cjs'))) as {
      default: { forbidden: { name: string }[] };
    };
    expect(rules.default.forbidden.map(({ name }) => name).toSorted()).toEqual(Object.keys(BROKEN).toSorted());
  });

  test.each(Object.entries(BROKEN))('%s refuses the import of a type', (rule, [from]) => {
    const place = rule.startsWith('folders-') ? dirname(`src/${from}`) : `src/${from}`;
    expect(violations.map((one) => `${one.rule.name} ${one.from}`)).toContain(`${rule} ${place}`);
  });

  test('nothing else of this house is refused', () => {
    const broken = new Set(violations.map((one) => one.rule.name));
    expect([...broken].toSorted()).toEqual(Object.keys(BROKEN).toSorted());
    expect(violations.filter(({ from }) => /other\.ts$|amount\.ts$|judge\.ts$|redis\.ts$/.test(from))).toEqual(
      violations.filter(({ from }) => from === 'src/client/other.ts'),
    );
  });
});
