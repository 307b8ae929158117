import { CodedError } from '../../ground/errors/coded-error.ts';
import { visibleGpus, type Gpu } from './gpu.ts';
import { askNvidiaSmi } from './nvidia-smi.ts';

const MIB = 1_048_576;

/** What a model says of the memory that it needs. */
interface Needs {
  readonly name: string;
  /** Undefined where its catalog entry does not tell. */
  readonly gpuMemoryMiB: number | undefined;
  readonly computesHere: boolean;
}

let lastLoad: Promise<unknown> = Promise.resolve();

/**
 * Loads a model where its memory fits on the GPUs that this process sees. What computes here needs that much
 * free, and such models are loaded one after the other, so that each sees what the one before it took; a
 * server beside us has taken it already, and the GPUs must have that much in all. Where nobody can tell, it
 * is loaded. Throws CodedError `engine_away` where it does not fit: memory may become free.
 */
export async function loadWhereItFits<T>(model: Needs, load: () => Promise<T>): Promise<T> {
  if (model.gpuMemoryMiB === undefined) return load();
  if (!model.computesHere) {
    await requireRoom(model, ({ memoryBytes }) => memoryBytes);
    return load();
  }
  const turn = lastLoad.then(async () => {
    await requireRoom(model, ({ freeBytes }) => freeBytes);
    return load();
  });
  lastLoad = turn.catch(() => undefined);
  return turn;
}

async function requireRoom({ name, gpuMemoryMiB = 0 }: Needs, roomOf: (gpu: Gpu) => number | undefined): Promise<void> {
  const found = await askNvidiaSmi(AbortSignal.timeout(30_000));
  if (found === undefined) return;
  const rooms = visibleGpus(found, process.env['CUDA_VISIBLE_DEVICES']).map(roomOf);
  if (rooms.some((room) => room === undefined)) return;
  const roomMiB = Math.floor(rooms.reduce<number>((sum, room) => sum + (room ?? 0), 0) / MIB);
  if (roomMiB >= gpuMemoryMiB) return;
  throw new CodedError(
    'engine_away',
    `${name} needs ${gpuMemoryMiB} MiB of GPU memory, and the GPUs of this worker have room for ${roomMiB} MiB.`,
  );
}
