/** Time as a process lives by it: what it reads, and what it waits by. Who is given one can be played. */
export interface Clock {
  /** Milliseconds since 1970, as this machine has it. */
  nowMs(): number;
  /** Milliseconds since some moment; they only grow. */
  steadyMs(): number;
  /** Calls once, after so many ms; never after the result is disposed of. */
  after(ms: number, call: () => void): Disposable;
}

/** The time of this machine. */
export const MACHINE_CLOCK: Clock = {
  nowMs: () => Date.now(),
  steadyMs: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};

/** Resolves after so many ms, or as soon as the signal is aborted. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const over = () => {
      timer[Symbol.dispose]();
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = clock.after(ms, over);
    signal.addEventListener('abort', over, { once: true });
  });
}
