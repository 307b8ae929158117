/**
 * A thread that ends this process when its parent has died. Whoever computes in native code does not notice
 * that a stream has ended; a thread of its own does. `process.ppid` is asked anew each time.
 */
const LOOK_EVERY_MS = 500;

const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
}, LOOK_EVERY_MS);
