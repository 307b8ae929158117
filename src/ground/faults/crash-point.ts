/**
 * Named places at which a test can kill this process. `COUNTERSIGN_CRASH_AT=worker.after-claim:3` sends
 * SIGKILL to the process when it comes to that place for the third time. `worker.after-run:1:SIGSTOP` stops
 * it there until it gets SIGCONT. Without the variable, a crash point costs one comparison.
 */
export const CRASH_POINTS = [
  'api.before-admit',
  'api.after-admit',
  'api.after-add',
  'worker.before-claim',
  'worker.after-claim',
  'worker.after-run',
  'worker.after-commit',
  'courier.before-job-ends',
  'courier.after-job-ends',
  'courier.after-memories',
  'courier.before-note-history',
  'courier.after-note-history',
  'courier.after-erase-history',
  'courier.after-send',
  'courier.after-settle',
  'courier.after-submit',
  'courier.after-schedule',
  'courier.before-line',
  'courier.after-line',
  'courier.before-part',
  'courier.after-part',
  'courier.after-stop',
  'courier.before-results',
  'courier.after-results',
  'attestor.before-read',
  'attestor.after-checks',
  'attestor.after-sequence',
  'attestor.after-tiles',
  'attestor.after-archive',
  'attestor.after-publish',
  'attestor.before-seal',
  'attestor.after-seal',
  'attestor.after-mark',
  'attestor.after-erase-archive',
  'attestor.before-erase',
  'attestor.after-erase',
  'attestor.after-rule',
  'attestor.after-ack',
  'attestor.before-requeue',
] as const;
export type CrashPoint = (typeof CRASH_POINTS)[number];

const [armed, countdown = '1', signal = 'SIGKILL'] = (process.env['COUNTERSIGN_CRASH_AT'] ?? '').split(':');
let left = Number(countdown);

/** Sends the process the signal that the environment names for this place, if any. */
export function crashPoint(name: CrashPoint): void {
  if (armed !== name) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, signal);
}
