import { Option } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { CliContext } from './cli-context.ts';
import { GPU_BUILDS, GPU_BUILD_VERSION, fetchPackages } from './gpu-packages.ts';
import { Output, jsonOption } from './output.ts';

/** `countersign setup --gpu`: brings what this machine needs beyond the install into the data folder. */
export function addSetupCommand(cli: CliContext): void {
  cli.program
    .command('setup')
    .description("bring the in-process engine's build for GPUs into the data folder (docs/gpus.md)")
    .addOption(new Option('--gpu <kind>', 'which build').choices(['cuda', 'vulkan']).makeOptionMandatory())
    .addOption(jsonOption())
    .action(async ({ gpu, json }: { gpu: keyof typeof GPU_BUILDS; json?: boolean }) => {
      if (process.platform !== 'linux' || process.arch !== 'x64')
        throw new CodedError('request_invalid', 'There are builds for GPUs for Linux on x64 alone.');
      const folder = cli.ownFolder.gpuBuild(gpu);
      const out = new Output(json === true);
      const isNew = await fetchPackages(folder, GPU_BUILD_VERSION, GPU_BUILDS[gpu], process.env);
      out.show({ gpu, version: GPU_BUILD_VERSION, folder, fetched: isNew }, [
        `${isNew ? 'fetched' : 'there already'}: the ${gpu} build of ${GPU_BUILD_VERSION}`,
        `COUNTERSIGN_GPU_BUILD=${folder}`,
      ]);
    });
}
