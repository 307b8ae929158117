import { SpilledLines } from '../../ground/json/spilled-lines.ts';
import { openAny } from '../../core/jobs/erased-record.ts';
import type { Archived, JobArchive } from '../../core/jobs/job-archive.ts';
import { recordHead } from '../../core/jobs/job-record.ts';
import type { JobReader } from '../../core/jobs/job.reader.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import type { EnteredEnds, Reached } from './entered-ends.ts';
import type { LedgerEntry } from './ledger-entry.ts';
import { receiptCharge } from './receipt-charge.ts';
import type { LedgerRow } from './ledger-lines.ts';

/** Jobs of which Redis is asked at once. */
const PAGE = 500;

export interface ChargeCheckParts {
  /** Jobs as Redis keeps them. */
  readonly reader: JobReader;
  /** Undefined where there is none: then only what Redis keeps is compared. */
  readonly archive: JobArchive | undefined;
  readonly ends: EnteredEnds;
  readonly keyring: Keyring;
  /** Hears how many more receipts of the archive were looked at. */
  readonly hasRead?: (records: number) => void;
}

/** What a comparison says of one tenant's ledger. */
export interface Findings {
  /** A sentence about something that does not agree. */
  readonly isWrong: (problem: string) => void;
  /** A charge was compared with the receipt of its job. */
  readonly isCompared: () => void;
}

/** An entry of the ledger that is to be compared. */
interface Entry extends Pick<LedgerEntry, 'kind' | 'amount'> {
  readonly job: string;
  readonly tenant: string;
}

/**
 * Compares the entries of ledgers with the receipts of their jobs: each has what its receipt comes to, no job
 * has two, and no receipt has none. It is one pass over the ledgers and one over the archive in the order of
 * the log; both are spread by job over files, of which one is in memory at a time. What the archive does not
 * have is asked of Redis.
 */
export class ChargeCheck implements AsyncDisposable {
  readonly #parts: ChargeCheckParts;
  readonly #reached: Reached;
  readonly #entries: SpilledLines;
  readonly #receipts: SpilledLines;

  private constructor(parts: ChargeCheckParts, reached: Reached, entries: SpilledLines, receipts: SpilledLines) {
    this.#parts = parts;
    this.#reached = reached;
    this.#entries = entries;
    this.#receipts = receipts;
  }

  /** To be called before the ledgers are read: what is entered by then has to be in them. */
  static async begin(parts: ChargeCheckParts): Promise<ChargeCheck> {
    const reached = await parts.ends.reached();
    return new ChargeCheck(parts, reached, await SpilledLines.create(), await SpilledLines.create());
  }

  async add(tenant: string, rows: readonly LedgerRow[]): Promise<void> {
    await this.#entries.add(rows.map(({ job, entry }) => `${job} ${tenant} ${entry.kind} ${entry.amount}`));
  }

  /** Compares what was added, which are the whole ledgers of these tenants. */
  async compare(ledgers: ReadonlyMap<string, Findings>): Promise<void> {
    await this.#readArchive(ledgers);
    for (const part of SpilledLines.parts) {
      const receipts = new Map((await this.#receipts.read(part)).map(readReceipt));
      const entries = (await this.#entries.read(part)).map(readEntry);
      const seen = new Set<string>();
      const unknown: Entry[] = [];
      for (const entry of entries) {
        const { job, tenant } = entry;
        if (seen.has(job)) ledgers.get(tenant)?.isWrong(`${job} has two entries.`);
        seen.add(job);
        const receipt = receipts.get(job);
        if (receipt?.tenant === tenant) compareOne(entry, receipt.due, ledgers.get(tenant));
        else unknown.push(entry);
      }
      await this.#askRedis(unknown, ledgers);
      await this.#findMissing(
        [...receipts].filter(([job]) => !seen.has(job)),
        ledgers,
      );
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#entries[Symbol.asyncDispose]();
    await this.#receipts[Symbol.asyncDispose]();
  }

  /** Notes what each receipt of these tenants comes to. */
  async #readArchive(ledgers: ReadonlyMap<string, Findings>): Promise<void> {
    const { archive, hasRead } = this.#parts;
    if (archive === undefined) return;
    for await (const items of archive.tiles()) {
      await this.#receipts.add(items.flatMap((item) => this.#receiptLine(item, ledgers) ?? []));
      hasRead?.(items.length);
    }
  }

  #receiptLine({ index, job }: Archived, ledgers: ReadonlyMap<string, Findings>): string | undefined {
    // A confirmation whose place is not published has not ended its job.
    if (job === undefined || index >= this.#reached.size) return undefined;
    const { tenant } = recordHead(job.record);
    const findings = ledgers.get(tenant);
    if (findings === undefined) return undefined;
    try {
      const record = openAny(job.record);
      const { state } = record.ending;
      const kept = 'erasedMs' in record ? { record: undefined, erased: record } : { record, erased: undefined };
      const due = receiptCharge({ state, ...kept }, this.#parts.keyring);
      return due === undefined ? undefined : `${job.id} ${tenant} ${due}`;
    } catch {
      findings.isWrong(`The archive's record of ${job.id} cannot be read.`);
      return undefined;
    }
  }

  async #askRedis(entries: readonly Entry[], ledgers: ReadonlyMap<string, Findings>): Promise<void> {
    const { reader, keyring } = this.#parts;
    for (let from = 0; from < entries.length; from += PAGE) {
      const page = entries.slice(from, from + PAGE);
      const jobs = await Promise.all(page.map(({ job }) => reader.read(job)));
      for (const [at, entry] of page.entries()) {
        const job = jobs[at];
        compareOne(entry, job && receiptCharge(job, keyring), ledgers.get(entry.tenant));
      }
    }
  }

  async #findMissing(
    receipts: readonly [job: string, Receipt][],
    ledgers: ReadonlyMap<string, Findings>,
  ): Promise<void> {
    for (let from = 0; from < receipts.length; from += PAGE) {
      const page = new Map(receipts.slice(from, from + PAGE));
      for (const job of await this.#parts.ends.among([...page.keys()], this.#reached)) {
        const { tenant, due } = page.get(job) ?? { tenant: '', due: 0 };
        ledgers.get(tenant)?.isWrong(`${job} has no entry and ${comesTo(due)}.`);
      }
    }
  }
}

interface Receipt {
  readonly tenant: string;
  readonly due: number;
}

function readReceipt(line: string): [job: string, Receipt] {
  const [job = '', tenant = '', due = ''] = line.split(' ');
  return [job, { tenant, due: Number(due) }];
}

function readEntry(line: string): Entry {
  const [job = '', tenant = '', kind = '', amount = ''] = line.split(' ');
  return { job, tenant, kind: kind === 'charge' ? 'charge' : 'release', amount: Number(amount) };
}

function compareOne({ job, kind, amount }: Entry, due: number | undefined, findings: Findings | undefined): void {
  if (kind === 'release' && amount !== 0) findings?.isWrong(`${job} was released, and charged ${amount}.`);
  if (due === undefined) return;
  findings?.isCompared();
  if (kind !== 'charge') findings?.isWrong(`${job} is not charged and ${comesTo(due)}.`);
  else if (amount !== due) findings?.isWrong(`${job} is charged ${amount} and ${comesTo(due)}.`);
}

const comesTo = (due: number) =>
  Number.isNaN(due) ? 'a signature or digest in its receipt is wrong' : `its receipt comes to ${due}`;
