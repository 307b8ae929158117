import type { Outcome } from './job-runner.ts';

/** What follows jobs of a pack that take longer than expected is not kept from others. */
const LONGEST_TURN_MS = 100;

export interface PackParts {
  /** Runs the job of a delivery's name. */
  readonly run: (name: string) => Promise<Outcome>;
  /** How many jobs may be claimed at once: those whose turn comes in a moment. */
  readonly claimAhead: () => number;
  /** Delivers these once more, each by itself. */
  readonly giveBack: (names: readonly string[]) => Promise<void>;
  /** Whether this worker may begin another job. */
  readonly mayBegin: () => boolean;
}

/** The jobs of a pack that are to be delivered again, and when (ms from now). */
export interface Later {
  readonly names: readonly string[];
  readonly afterMs: number;
}

/**
 * Runs the jobs of one delivery, those together whose turn comes in a moment, the others after them. What
 * waits for more than 100 ms behind the same ones, or when the worker is told to leave, is given back for
 * others. Returns what this worker may not run now.
 */
export async function runPack(names: readonly string[], parts: PackParts): Promise<Later> {
  const rest = [...names];
  const later: string[] = [];
  let afterMs = 0;
  let giving: Promise<void> | undefined;
  const giveRestBack = () => {
    const given = rest.splice(0);
    // What cannot be given back is run here.
    if (given.length > 0) giving = parts.giveBack(given).catch(() => void rest.push(...given));
  };
  const timer = names.length > 1 ? setTimeout(giveRestBack, LONGEST_TURN_MS) : undefined;
  try {
    while (rest.length > 0) {
      const together = rest.splice(0, parts.claimAhead());
      const outcomes = await Promise.all(together.map((name) => parts.run(name)));
      outcomes.forEach((outcome, at) => {
        if (outcome.kind === 'consumed') return;
        later.push(together[at] ?? '');
        afterMs = Math.max(afterMs, outcome.afterMs);
      });
      if (parts.mayBegin()) timer?.refresh();
      else giveRestBack();
      if (rest.length === 0) await giving;
    }
  } finally {
    clearTimeout(timer);
  }
  return { names: later, afterMs };
}
