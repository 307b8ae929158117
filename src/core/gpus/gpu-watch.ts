import { gaugeOfEach } from '../../ground/metrics/process-metrics.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { visibleGpus, type Gpu } from './gpu.ts';
import { askNvidiaSmi } from './nvidia-smi.ts';

const LOOK_EVERY_MS = 10_000;
/** A machine without the program does not get one every ten seconds. */
const LOOK_AGAIN_MS = 60_000;

/** Looks at the GPUs that this process may use, again and again, without holding anything up. */
export class GpuWatch {
  readonly #visible = process.env['CUDA_VISIBLE_DEVICES'];
  readonly #ended = new AbortController();
  readonly #looks = new PeriodicTask(
    () => this.#look(),
    () => undefined,
    LOOK_AGAIN_MS,
  );
  #gpus: readonly Gpu[] | undefined;
  #onChange: () => void = () => undefined;

  /** Undefined while nothing is known. */
  get gpus(): readonly Gpu[] | undefined {
    return this.#gpus;
  }

  /** Begins to look; `onChange` hears of each look that told something else. */
  start(onChange: () => void): void {
    this.#onChange = onChange;
    const each = (of: (gpu: Gpu) => number | undefined) => () =>
      (this.#gpus ?? []).flatMap((gpu) => {
        const value = of(gpu);
        return value === undefined ? [] : [{ labels: { gpu: gpu.place }, value }];
      });
    gaugeOfEach(
      'countersign_gpu_memory_bytes',
      each(({ memoryBytes }) => memoryBytes),
    );
    gaugeOfEach(
      'countersign_gpu_memory_free_bytes',
      each(({ freeBytes }) => freeBytes),
    );
    gaugeOfEach(
      'countersign_gpu_busy_ratio',
      each(({ busyPercent }) => (busyPercent === undefined ? undefined : busyPercent / 100)),
    );
    gaugeOfEach(
      'countersign_gpu_temperature_celsius',
      each(({ celsius }) => celsius),
    );
    gaugeOfEach(
      'countersign_gpu_uncorrected_errors',
      each(({ uncorrectedErrors }) => uncorrectedErrors),
    );
    this.#looks.start();
  }

  /** Ends the program that is running, if there is one. */
  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#looks.stop();
  }

  async #look(): Promise<number> {
    const found = await askNvidiaSmi(this.#ended.signal);
    const gpus = found === undefined ? undefined : visibleGpus(found, this.#visible);
    const isNew = JSON.stringify(gpus) !== JSON.stringify(this.#gpus);
    this.#gpus = gpus;
    if (isNew && !this.#ended.signal.aborted) this.#onChange();
    return gpus === undefined ? LOOK_AGAIN_MS : LOOK_EVERY_MS;
  }
}
