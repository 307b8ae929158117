import { expect, test } from '@jest/globals';
import { SMI_LIST, SMI_XML } from '../../../test/support/nvidia-smi.ts';
import { readGpus } from '../../core/gpus/nvidia-smi.ts';
import { workersOf } from './workers-per-gpu.ts';

const GPUS = readGpus(SMI_XML, SMI_LIST) ?? [];
const ENV = { COUNTERSIGN_WORKER_KEY_FILE: '/keys/worker-{gpu}.key', COUNTERSIGN_METRICS_PORT: '9100', OTHER: 'same' };

test('each GPU and slice has a worker that sees it alone, with a key and a port of its own', () => {
  expect(workersOf(GPUS, ENV).map(({ env }) => env)).toEqual([
    {
      ...ENV,
      CUDA_VISIBLE_DEVICES: 'GPU-37037c3f-65c8-ec4d-24a9-420204ad8026',
      COUNTERSIGN_WORKER_KEY_FILE: '/keys/worker-0.key',
    },
    {
      ...ENV,
      CUDA_VISIBLE_DEVICES: 'MIG-a686709d-6dc2-542a-8851-0d2508448c10',
      COUNTERSIGN_WORKER_KEY_FILE: '/keys/worker-1-0.key',
      COUNTERSIGN_METRICS_PORT: '9101',
    },
    {
      ...ENV,
      CUDA_VISIBLE_DEVICES: 'MIG-53864714-0a66-5df2-9007-9268e30d9a72',
      COUNTERSIGN_WORKER_KEY_FILE: '/keys/worker-1-1.key',
      COUNTERSIGN_METRICS_PORT: '9102',
    },
  ]);
});

test('workers that would share a key, or have no GPU, are refused with what to do', () => {
  expect(() => workersOf(GPUS, { COUNTERSIGN_WORKER_KEY_FILE: '/keys/worker.key' })).toThrow('its own key');
  expect(() => workersOf([], ENV)).toThrow('No GPU was found');
});
