import { fork } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { visibleGpus, type Gpu } from '../../core/gpus/gpu.ts';
import { askNvidiaSmi } from '../../core/gpus/nvidia-smi.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { DRAIN_SIGNALS } from '../../ground/process/drain-time.ts';
import { RestartPauses } from '../../ground/process/growing-pause.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** One worker: the GPU that it has to itself, and its environment. */
export interface WorkerOfGpu {
  readonly gpu: Gpu;
  readonly env: Environment;
}

/** What a worker says by these it says for good: its configuration is unfit, or it is not let in. */
const FINAL_CODES = [0, 2, 4];
const PLACE = '{gpu}';

/**
 * The workers of this environment, one for each of these GPUs and slices. Each has a key of its own, and a
 * port of its own where metrics are wanted. Throws CodedError `config_invalid`.
 */
export function workersOf(gpus: readonly Gpu[], env: Environment): WorkerOfGpu[] {
  const keyFile = env['COUNTERSIGN_WORKER_KEY_FILE'];
  const metrics = env['COUNTERSIGN_METRICS_PORT'];
  if (gpus.length === 0)
    throw new CodedError('config_invalid', 'No GPU was found that a worker may use.', {
      hint: 'nvidia-smi must be on the PATH and list one; CUDA_VISIBLE_DEVICES must name it or be unset',
    });
  if (!keyFile?.includes(PLACE))
    throw new CodedError(
      'config_invalid',
      `COUNTERSIGN_WORKER_KEY_FILE has no ${PLACE}: each worker has its own key.`,
      {
        hint: `name the files such as /etc/countersign/worker-${PLACE}.key, where ${PLACE} is the number of a GPU`,
      },
    );
  return gpus.map((gpu, at) => ({
    gpu,
    env: {
      ...env,
      CUDA_VISIBLE_DEVICES: gpu.uuid,
      COUNTERSIGN_WORKER_KEY_FILE: keyFile.replaceAll(PLACE, gpu.place.replace(':', '-')),
      ...(metrics === undefined || metrics === '0' ? {} : { COUNTERSIGN_METRICS_PORT: String(Number(metrics) + at) }),
    },
  }));
}

/**
 * Runs a worker for each GPU and slice that this process may use, until it is told to end; then each ends as
 * a worker does. One that dies is started again, with growing pauses. Returns the first exit code that is not
 * 0.
 */
export async function runWorkersPerGpu(say: (line: string) => void): Promise<number> {
  const found = await askNvidiaSmi(new AbortController().signal);
  const workers = workersOf(visibleGpus(found ?? [], process.env['CUDA_VISIBLE_DEVICES']), process.env);
  const leaving = new AbortController();
  const told = DRAIN_SIGNALS.find((signal) => signal === process.env['COUNTERSIGN_DRAIN_ON']);
  for (const signal of new Set(['SIGTERM', 'SIGINT', ...(told === undefined ? [] : [told])] as const))
    process.on(signal, () => leaving.abort(signal));
  const codes = await Promise.all(workers.map((worker) => keep(worker, leaving.signal, say)));
  return codes.find((code) => code !== 0) ?? 0;
}

/** Starts a worker again and again, until it is final or all are leaving. Returns its last exit code. */
async function keep(worker: WorkerOfGpu, leaving: AbortSignal, say: (line: string) => void): Promise<number> {
  const pauses = new RestartPauses();
  const name = `the worker of GPU ${worker.gpu.place} (${worker.gpu.name})`;
  const isLeaving = () => leaving.aborted;
  while (!isLeaving()) {
    const startedMs = performance.now();
    const end = await runOnce(worker, leaving);
    const code = typeof end === 'number' ? end : 1;
    // One that had only begun to start dies of our signal, and held nothing.
    if (isLeaving()) return end === leaving.reason ? 0 : code;
    const how = typeof end === 'number' ? `exit code ${end}` : end;
    if (FINAL_CODES.includes(code)) {
      say(`${name} ended (${how}) and is not started again`);
      return code;
    }
    const pauseMs = pauses.after(performance.now() - startedMs);
    say(`${name} ended (${how}) and is started again in ${pauseMs / 1_000} s`);
    await pause(pauseMs, undefined, { signal: leaving }).catch(() => undefined);
  }
  return 0;
}

/** Resolves with the exit code or the signal that ended it. It ends with us: the channel tells it. */
function runOnce({ env }: WorkerOfGpu, leaving: AbortSignal): Promise<number | NodeJS.Signals> {
  const program = fileURLToPath(new URL('../worker/main.js', import.meta.url));
  // A group of its own: a terminal's Ctrl-C comes to us, and from us to each of them once.
  const child = fork(program, [], {
    execArgv: [],
    env: { ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    detached: true,
  });
  const stop = () => child.kill(isSignal(leaving.reason) ? leaving.reason : 'SIGTERM');
  leaving.addEventListener('abort', stop, { once: true });
  return new Promise((resolve) => {
    const ended = (how: number | NodeJS.Signals) => {
      leaving.removeEventListener('abort', stop);
      resolve(how);
    };
    child.once('exit', (code, signal) => ended(signal ?? code ?? 1));
    child.once('error', () => ended(1));
  });
}

function isSignal(reason: unknown): reason is NodeJS.Signals {
  return typeof reason === 'string' && reason.startsWith('SIG');
}
