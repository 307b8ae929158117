import { setTimeout as pause } from 'node:timers/promises';
import { smallDisk } from '../support/small-disk.ts';
import { drawsOf } from '../support/toy-model.ts';
import { Nemesis, type Fault } from './nemesis.ts';
import { World } from './world.ts';

export interface Scenario {
  readonly seed: number;
  readonly faults: readonly Fault[];
  readonly jobs: number;
  /** Jobs arrive at this pace whatever becomes of them: an open loop, which does not wait for answers. */
  readonly perSecond: number;
  /** How long all that is left has to end once the faults have stopped. */
  readonly settleMs: number;
}

export interface Outcome {
  readonly violations: readonly string[];
  /** How often each fault happened: a run in which one did not has shown nothing. */
  readonly happened: Readonly<Record<string, number>>;
}

/** How often a job is tried: faults come faster than anywhere else. */
const ATTEMPTS = 10;
/** Room for a log of a few hundred entries. */
const DISK_BYTES = 16 * 1_048_576;

/** Runs one scenario: jobs and faults, then peace, then the check. The same seed makes the same faults. */
export async function runScenario(scenario: Scenario): Promise<Outcome> {
  const { seed, faults, jobs, perSecond, settleMs } = scenario;
  const disk = faults.includes('disk full') ? await smallDisk(DISK_BYTES) : undefined;
  try {
    await using world = await World.open();
    await using nemesis = new Nemesis(world, drawsOf(seed), faults, disk);
    await nemesis.people();
    await world.listen();
    nemesis.start();
    const begin = performance.now();
    const arrivals = Array.from({ length: jobs }, async (_, at) => {
      await pause(Math.max(0, begin + (1_000 * at) / perSecond - performance.now()));
      const id = await world.submit(`job-${at}`, { attempts: ATTEMPTS });
      await world.read(id).catch(() => undefined);
    });
    await Promise.all(arrivals);
    await nemesis.stop();
    return { violations: await world.violations(settleMs), happened: world.happened };
  } finally {
    await disk?.remove();
  }
}
