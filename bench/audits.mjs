// Simulated audits: how soon the sequential test finds workers that cheat, and how often it accuses honest
// ones.
import { dist } from './arena.mjs';

const { suspicionAfter, QUARANTINE_AT } = await dist('core/attestation/suspicion.js');

/** A small seeded generator (mulberry32), so that every run is the same. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The number of jobs until quarantine, or Infinity. */
function jobsUntilFound(draw, { audited, flagged, jobs }) {
  let score = 0;
  for (let job = 1; job <= jobs; job += 1) {
    if (draw() >= audited) continue;
    score = suspicionAfter(score, draw() < flagged);
    if (score >= QUARANTINE_AT) return job;
  }
  return Infinity;
}

const WORKERS = 1_000;
const AUDITED = 0.1;

export function benchAudits(say) {
  const draw = random(20_261_121);
  const honest = Array.from({ length: WORKERS }, () =>
    jobsUntilFound(draw, { audited: AUDITED, flagged: 0.005, jobs: 100_000 }),
  );
  const kinds = {
    'cheats every job, every cheat is seen': 1,
    'Q4 for Q8, answers of 64 tokens': 0.9,
    'Q4 for Q8, answers of 16 tokens': 0.39,
    'cheats one job in five': 0.2,
    'cheats one job in ten': 0.1,
    'cheats one job in twenty': 0.05,
  };
  const found = Object.fromEntries(
    Object.entries(kinds).map(([name, flagged]) => {
      const jobs = Array.from({ length: WORKERS }, () =>
        jobsUntilFound(draw, { audited: AUDITED, flagged, jobs: 100_000 }),
      );
      const sorted = jobs.toSorted((a, b) => a - b);
      return [
        name,
        { p50: sorted[WORKERS / 2], p99: sorted[WORKERS * 0.99], missed: jobs.filter((at) => at === Infinity).length },
      ];
    }),
  );
  const accused = honest.filter((at) => at < Infinity).length;
  say(`audits: ${accused} of ${WORKERS} honest workers accused in 100,000 jobs each; ${JSON.stringify(found)}`);
  return {
    audits: {
      share: AUDITED,
      workers_of_each_kind: WORKERS,
      honest_accused_in_100000_jobs: accused,
      jobs_until_found: found,
    },
  };
}
