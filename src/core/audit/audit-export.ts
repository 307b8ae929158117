import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { logEntry } from '../../proof/tlog/log-entry.ts';
import { verifyLogged, type TlogPolicy } from '../../proof/tlog/tlog-policy.ts';
import { AuditChain, headText } from './audit-entry.ts';

/** A head of the audit log in the transparency log, as an export holds it. */
export const LoggedHead = z.strictObject({
  /** SHA-256 of the text of the head; see `headText`. */
  logged: z.string().regex(/^[0-9a-f]{64}$/),
  salt: z.base64(),
  keyid: z.string(),
  /** C2SP tlog-proof of its entry. */
  proof: z.string(),
});
export type LoggedHead = z.infer<typeof LoggedHead>;

export interface AuditReport {
  readonly entries: number;
  /** How many heads the transparency log has of these entries. */
  readonly heads: number;
  /** The entries that the last of them covers. */
  readonly covered: number;
}

/** The export is not what was written down, or not all of it. */
export class AuditRefused extends Error {}

/**
 * Verifies an export: JSON Lines, first the heads in the transparency log with their proofs, then every entry
 * from the first on. Each entry must be chained to the one before, and each head must be in the log, as the
 * policy demands, and be that of one of the entries: what a head covers cannot be changed, left out or cut
 * off at the end. Entries after the last head are chained and no more. Throws AuditRefused with the first
 * reason found, and LogRefused where a proof fails. Needs one line at a time in memory, and one hash a head.
 */
export async function verifyAuditExport(lines: AsyncIterable<string>, policy: TlogPolicy): Promise<AuditReport> {
  const chain = new AuditChain();
  const heads = new Map<string, LoggedHead>();
  let found = 0;
  let covered = 0;
  for await (const line of lines) {
    const head = chain.entries === 0 ? headOf(line) : undefined;
    if (head !== undefined) {
      heads.set(head.logged, head);
      continue;
    }
    const problem = chain.take(line);
    if (problem !== undefined) throw new AuditRefused(`${problem}.`);
    if (!chain.startsAtGenesis) throw new AuditRefused('The export does not begin with the first entry.');
    const text = headText(chain.entries, line);
    const logged = heads.get(sha256Hex(text));
    if (logged === undefined) continue;
    verifyLogged(
      policy,
      logged.proof,
      logEntry('audit', logged.keyid, Buffer.from(text), Buffer.from(logged.salt, 'base64')),
    );
    heads.delete(logged.logged);
    found += 1;
    covered = chain.entries;
  }
  if (heads.size > 0)
    throw new AuditRefused(
      `The transparency log has ${heads.size} head(s) that these entries do not lead to: entries were changed or cut off.`,
    );
  return { entries: chain.entries, heads: found, covered };
}

function headOf(line: string): LoggedHead | undefined {
  if (!line.startsWith('{"logged"')) return undefined;
  const parsed = LoggedHead.safeParse(JSON.parse(line));
  if (!parsed.success) throw new AuditRefused('A line of a head is malformed.');
  return parsed.data;
}
