import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { ROOT } from '../support/redis.ts';

const ARCHIVED = 200_000;
const Said = z.object({
  ledger: z.object({ checked: z.array(z.object({ entries: z.number(), compared: z.number() })) }),
});

test('a ledger of any length is compared with the archive in a heap of 128 MB', async () => {
  const bench = join(ROOT, 'bench', 'main.mjs');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [bench, '--only', 'ledger', '--jobs', '0', '--archived', String(ARCHIVED)],
    { maxBuffer: 2 ** 24 },
  );
  const { ledger } = Said.parse(JSON.parse(stdout));
  expect(ledger.checked.map(({ entries, compared }) => [entries, compared])).toEqual(
    [ARCHIVED / 10, ARCHIVED].map((count) => [count, count]),
  );
}, 900_000);
