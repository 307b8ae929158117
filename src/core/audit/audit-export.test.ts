import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { AuditChain, entryText, headText, type AuditAct } from './audit-entry.ts';
import { AuditRefused, verifyAuditExport } from './audit-export.ts';
import type { TlogPolicy } from '../../proof/tlog/tlog-policy.ts';

const NO_POLICY: TlogPolicy = { logs: [], witnesses: [], isQuorum: () => true };

const act: fc.Arbitrary<AuditAct> = fc.record({
  by: fc.string({ maxLength: 20 }),
  action: fc.constantFrom('key.create', 'tenant.change'),
  target: fc.string({ maxLength: 20 }),
  tenant: fc.option(fc.string({ maxLength: 9 })),
  detail: fc.dictionary(fc.string({ maxLength: 5 }), fc.oneof(fc.string({ maxLength: 9 }), fc.integer())),
});

function logOf(acts: readonly AuditAct[]): string[] {
  const lines: string[] = [];
  for (const one of acts) lines.push(entryText(one, lines.length, lines.at(-1), 1_790_000_000_000 + lines.length));
  return lines;
}

async function* each(lines: readonly string[]) {
  yield* lines;
  await Promise.resolve();
}
const verify = (lines: readonly string[]) => verifyAuditExport(each(lines), NO_POLICY);

test('any log verifies, and with any line changed, left out, doubled or swapped it does not', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 3, maxLength: 8 }), fc.nat(), fc.nat(3), async (acts, seed, how) => {
      const lines = logOf(acts);
      expect(await verify(lines)).toEqual({ entries: lines.length, heads: 0, covered: 0 });
      // Not the last one: what comes after the last head is chained to nothing yet.
      const at = seed % (lines.length - 1);
      const line = lines[at] ?? '';
      const changed =
        how === 0
          ? lines.with(at, line.replace(/"at":"2/, '"at":"3'))
          : how === 1
            ? lines.toSpliced(at, 1)
            : how === 2
              ? lines.toSpliced(at, 0, line)
              : lines.with(at, lines[at + 1] ?? '').with(at + 1, line);
      await expect(verify(changed)).rejects.toThrow(AuditRefused);
    }),
  );
});

test('an export that was cut off before a logged head is refused, whatever is left of it', async () => {
  const lines = logOf(
    Array.from({ length: 5 }, (_, n) => ({ by: 'cli', action: 'x', target: `${n}`, tenant: null, detail: {} })),
  );
  const head = { logged: sha256Hex(headText(5, lines[4] ?? '')), salt: 'AAAA', keyid: 'k', proof: '' };
  for (let kept = 0; kept < 5; kept += 1)
    await expect(verify([JSON.stringify(head), ...lines.slice(0, kept)])).rejects.toThrow(/do not lead to/);
});

test('a line in another form, and details that are too long, are told apart from entries', () => {
  const [line = ''] = logOf([
    { by: 'cli', action: 'x', target: '', tenant: null, detail: { b: 1, a: 'x'.repeat(9_000) } },
  ]);
  expect(JSON.parse(line)).toMatchObject({ n: 0, detail: { leftOut: 9_014 } });
  expect(new AuditChain().take(line)).toBeUndefined();
  expect(new AuditChain().take(line.replace('{', '{ '))).toMatch(/canonical/);
  expect(new AuditChain().take('{}')).toMatch(/is no entry/);
});
