import { expect, test } from '@jest/globals';
import { packageIdentity } from '../../core/engines/package-digest.ts';
import { GPU_BUILD_VERSION } from './gpu-packages.ts';

// node-llama-cpp takes no build of another version, and would compute on the CPU without a word.
test('the builds for GPUs are of the version of the engine', () => {
  expect(GPU_BUILD_VERSION).toBe(packageIdentity('node-llama-cpp').version);
});
