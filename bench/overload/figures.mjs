// What the records of a run come to. They are of the time from the warm-up to the end of the trace.
import { TENANTS } from './trace.mjs';
import { seeded } from './seeded.mjs';

const weightOf = new Map(TENANTS.map(({ name, weight }) => [name, weight]));
const innocent = new Set(TENANTS.filter(({ isInnocent }) => isInnocent).map(({ name }) => name));

export function quantile(values, part) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Jain's index: 1 where all are alike, 1/n where one has everything. */
export function jain(shares) {
  const sum = shares.reduce((all, share) => all + share, 0);
  return sum ** 2 / (shares.length * shares.reduce((all, share) => all + share ** 2, 0));
}

const isDone = ({ state, endedMs, createdMs }, deadlineMs) => state === 'done' && endedMs <= createdMs + deadlineMs;

/** The figures of one run. */
export function figuresOf(run, { warmMs, endMs, serviceMs }) {
  const { asked, startMs, worked, slots, deadlineMs, used } = run;
  const [fromMs, toMs] = [startMs + warmMs, startMs + endMs];
  const counted = asked.filter(({ plannedMs }) => plannedMs >= fromMs && plannedMs < toMs);
  const admitted = counted.filter(({ id }) => id !== undefined);
  const refused = counted.filter(({ status }) => status === 429 || status === 503);
  const good = admitted.filter((job) => isDone(job, deadlineMs));
  const inTime = new Set(
    asked.filter((job) => job.id !== undefined && isDone(job, deadlineMs)).map((job) => job.number),
  );
  const within = ([, beganMs, endedMs]) => Math.max(0, Math.min(endedMs, toMs) - Math.max(beganMs, fromMs));
  const [whole, useful] = [worked, worked.filter(([number]) => inTime.has(number))].map((rows) =>
    rows.reduce((sum, row) => sum + within(row), 0),
  );
  const latencies = good.map(({ endedMs, sentMs }) => endedMs - sentMs);
  return {
    offered: counted.filter(({ tries }) => tries === 0).length,
    attempts: counted.length,
    admitted: admitted.length,
    refused: refused.length,
    failed: counted.length - admitted.length - refused.length,
    goodput: useful / (slots * (endMs - warmMs)),
    busy: whole / (slots * (endMs - warmMs)),
    vain: whole === 0 ? 0 : 1 - useful / whole,
    missed: admitted.length === 0 ? 0 : 1 - good.length / admitted.length,
    wouldNotFinish: admitted.filter(({ reason }) => reason === 'would_not_finish').length,
    innocentOffered: counted.filter(({ tenant }) => innocent.has(tenant)).length,
    innocentRefused: refused.filter(({ tenant }) => innocent.has(tenant)).length,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    refusalP50: quantile(
      refused.map(({ tookMs }) => tookMs),
      0.5,
    ),
    refusalP99: quantile(
      refused.map(({ tookMs }) => tookMs),
      0.99,
    ),
    admissionP99: quantile(
      admitted.map(({ tookMs }) => tookMs),
      0.99,
    ),
    jain: jainOf({ asked, counted, worked, inTime, within }),
    ...predictionOf(admitted, serviceMs),
    servedOfUnique: new Set(good.map(({ number }) => number)).size / new Set(counted.map(({ number }) => number)).size,
    secondTriesAdmitted: secondTries(counted),
    cores: used.cores,
    machineBusy: used.machine.busy,
    loadAverage: used.machine.loadAverage,
    lagP99: quantile(
      counted.map(({ sentMs, plannedMs, tries }) => (tries === 0 ? sentMs - plannedMs : 0)),
      0.99,
    ),
  };
}

/** Of the engines' time that went to answers in time, by weight, among tenants that were refused some. */
function jainOf({ asked, counted, worked, inTime, within }) {
  const tenantOf = new Map(asked.map(({ number, tenant }) => [number, tenant]));
  const got = new Map();
  for (const row of worked)
    if (inTime.has(row[0])) got.set(tenantOf.get(row[0]), (got.get(tenantOf.get(row[0])) ?? 0) + within(row));
  const greedy = [...new Set(counted.map(({ tenant }) => tenant))].filter((tenant) => {
    const own = counted.filter((job) => job.tenant === tenant);
    return own.filter(({ id }) => id === undefined).length > 0.02 * own.length && !innocent.has(tenant);
  });
  return greedy.length < 2 ? NaN : jain(greedy.map((tenant) => (got.get(tenant) ?? 0) / weightOf.get(tenant)));
}

/** How far what was told at admission was from what came: of the end, and of waits longer than a mean job. */
function predictionOf(admitted, serviceMs) {
  const told = admitted.filter(({ told: said, endedMs }) => said !== undefined && endedMs !== undefined);
  const whole = told.map(({ endedMs, createdMs, state, told: said }) => ({
    tookMs: state === 'done' ? endedMs - createdMs : Infinity,
    said,
  }));
  const inside = whole.filter(({ tookMs, said }) => tookMs >= said.p10 && tookMs <= said.p90);
  const waited = told
    .filter(({ beganMs, createdMs }) => beganMs !== undefined && beganMs - createdMs > serviceMs)
    .map(
      ({ beganMs, createdMs, told: said }) => Math.abs(said.startMs - (beganMs - createdMs)) / (beganMs - createdMs),
    );
  const ended = whole.filter(({ tookMs }) => Number.isFinite(tookMs));
  return {
    covered: whole.length === 0 ? NaN : inside.length / whole.length,
    below: whole.length === 0 ? NaN : whole.filter(({ tookMs, said }) => tookMs < said.p10).length / whole.length,
    endError: quantile(
      ended.map(({ tookMs, said }) => Math.abs(said.p50 - tookMs) / tookMs),
      0.5,
    ),
    waitError: quantile(waited, 0.5),
    waited: waited.length,
  };
}

function secondTries(counted) {
  const again = counted.filter(({ tries }) => tries === 1);
  return again.length === 0 ? NaN : again.filter(({ id }) => id !== undefined).length / again.length;
}

/** How long (ms) after a time it takes until a place is free again. */
export function recoveredAfter({ asked, startMs, slots }, afterMs) {
  const changes = asked
    .filter(({ id, endedMs }) => id !== undefined && endedMs !== undefined)
    .flatMap(({ createdMs, endedMs }) => [
      [createdMs, 1],
      [endedMs, -1],
    ])
    .toSorted(([a], [b]) => a - b);
  let open = 0;
  for (const [atMs, change] of changes) {
    open += change;
    if (atMs >= startMs + afterMs && open < slots) return atMs - startMs - afterMs;
  }
  return NaN;
}

/** Jobs that were accepted and had not ended, over the time of a run. */
export function openOver({ asked, startMs }, endMs, everyMs = 250) {
  const accepted = asked.filter(({ id, endedMs }) => id !== undefined && endedMs !== undefined);
  return Array.from({ length: Math.ceil(endMs / everyMs) }, (_, at) => {
    const atMs = startMs + at * everyMs;
    return [
      (at * everyMs) / 1_000,
      accepted.filter(({ createdMs, endedMs }) => createdMs <= atMs && endedMs > atMs).length,
    ];
  });
}

/**
 * What a queue of this kind is expected to do at a load: the wait of M/M/c, and after it a job of the trace.
 * `jobs` are times of jobs (ms).
 */
export function expectedAt(load, slots, jobs) {
  const offered = load * slots;
  let [term, sum] = [1, 1];
  for (let at = 1; at < slots; at += 1) {
    term *= offered / at;
    sum += term;
  }
  const last = (term * offered) / slots / (1 - load);
  const waits = last / (sum + last);
  const meanMs = mean(jobs);
  const random = seeded(1);
  const times = Array.from({ length: 200_000 }, () => {
    const service = jobs[Math.floor(random() * jobs.length)];
    if (random() >= waits) return service;
    return service + (-Math.log(1 - random()) * meanMs) / (slots * (1 - load));
  });
  return { waits, p50: quantile(times, 0.5), p99: quantile(times, 0.99), serviceP50: quantile(jobs, 0.5) };
}
