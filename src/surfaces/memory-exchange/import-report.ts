import { CodedError } from '../../ground/errors/coded-error.ts';
import type { ImportItem } from './imported.ts';

/** How many faults are told one by one; all are counted. */
const MAX_FAULTS_SHOWN = 100;
const MAX_REASONS = 100;

/** What an importer made of its files. Whatever was read is kept, skipped or a fault. */
export interface ImportReport {
  readonly read: number;
  readonly kept: number;
  /** Why things were skipped, and how many for each reason. */
  readonly skipped: Readonly<Record<string, number>>;
  readonly faults: number;
  readonly first_faults: readonly { readonly where: string; readonly why: string }[];
}

/** What is to be kept. */
export type KeptItem = Extract<ImportItem, { kind: 'memory' | 'entry' | 'tombstone' }>;

/** Counts what an importer gives. */
export class ImportTally {
  #kept = 0;
  #faults = 0;
  readonly #skipped = new Map<string, number>();
  readonly #shown: { where: string; why: string }[] = [];

  /** Counts an item; returns it where it is to be kept. */
  take(item: ImportItem): KeptItem | undefined {
    switch (item.kind) {
      case 'memory':
      case 'entry':
      case 'tombstone':
        this.#kept += 1;
        return item;
      case 'skipped': {
        const reason = this.#skipped.has(item.reason) || this.#skipped.size < MAX_REASONS ? item.reason : 'other';
        this.#skipped.set(reason, (this.#skipped.get(reason) ?? 0) + 1);
        return undefined;
      }
      case 'fault':
        this.#faults += 1;
        if (this.#shown.length < MAX_FAULTS_SHOWN) this.#shown.push({ where: item.where, why: item.why });
        return undefined;
    }
  }

  report(): ImportReport {
    const skipped = [...this.#skipped.values()].reduce((sum, count) => sum + count, 0);
    return {
      read: this.#kept + skipped + this.#faults,
      kept: this.#kept,
      skipped: Object.fromEntries(this.#skipped),
      faults: this.#faults,
      first_faults: this.#shown,
    };
  }
}

/** Throws CodedError `import_refused` where nothing was kept: a wrong file must not look like an empty. */
export function requireKept({ read, kept, skipped, first_faults }: ImportReport): void {
  if (kept > 0) return;
  const reasons = Object.entries(skipped).map(([reason, count]) => `${count} ${reason}`);
  const [fault] = first_faults;
  const said = [...reasons, ...(fault === undefined ? [] : [`${fault.where}: ${fault.why}`])].join('; ');
  throw new CodedError(
    'import_refused',
    `Nothing was kept of ${read} things that were read: ${said || 'no content'}.`,
    {
      hint: 'what can be imported stands in docs/memory-import.md',
    },
  );
}
