import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CodedError, systemCodeOf } from '../../ground/errors/coded-error.ts';

/** A package with native code, and the digest of what its registry must deliver (subresource integrity). */
export interface PinnedPackage {
  readonly name: string;
  readonly integrity: string;
}

/** The version of node-llama-cpp whose builds these are; a test holds it to the installed one. */
export const GPU_BUILD_VERSION = '3.22.1';

/** The packages of each build of the engine for GPUs. */
export const GPU_BUILDS = {
  cuda: [
    {
      name: '@node-llama-cpp/linux-x64-cuda',
      integrity: 'sha512-8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA==',
    },
    {
      name: '@node-llama-cpp/linux-x64-cuda-ext',
      integrity: 'sha512-4e5ajkiM2aR2WAdB/N/ACk4weEhHvOAIrzxZPsIX0xDFW5+6hhShuy1/vs88SK9NGdgAco9IyE28eYS0H1efpA==',
    },
  ],
  vulkan: [
    {
      name: '@node-llama-cpp/linux-x64-vulkan',
      integrity: 'sha512-bBxqU+JOcBu1nb5Qj2zcMci+JByT1E8EajHvYodyNfVIPkEhXh+/HMwR1/BT7xP08YK0hks+kM8fglER0P8JEg==',
    },
  ],
} as const satisfies Record<string, readonly PinnedPackage[]>;

const FETCH_MS = 3_600_000;
const MAX_SAID = 1_048_576;

/**
 * Brings packages into a folder by npm, which checks each against its pinned digest and runs none of their
 * scripts. Returns false where they are there already. The folder is there whole or not at all: a crash
 * leaves `<folder>.new`, which the next call makes anew, and what had come whole npm keeps in its cache.
 * Throws CodedError `download_failed`, or `download_unfit` where other bytes came.
 */
export async function fetchPackages(
  folder: string,
  version: string,
  packages: readonly PinnedPackage[],
  env: NodeJS.ProcessEnv,
): Promise<boolean> {
  if (existsSync(folder)) return false;
  const aside = `${folder}.new`;
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(aside, { recursive: true, mode: 0o755 });
  const dependencies = Object.fromEntries(packages.map(({ name }) => [name, version]));
  const about = { name: 'gpu-build', version, dependencies };
  const locked = Object.fromEntries(
    packages.map(({ name, integrity }) => [`node_modules/${name}`, { version, integrity }]),
  );
  const lock = { ...about, lockfileVersion: 3, requires: true, packages: { '': about, ...locked } };
  writeFileSync(join(aside, 'package.json'), JSON.stringify({ ...about, private: true }));
  writeFileSync(join(aside, 'package-lock.json'), JSON.stringify(lock));
  await npmCi(aside, env);
  renameSync(aside, folder);
  return true;
}

/** Runs no script of a package, and asks for nothing but the packages. */
const NPM_WORDS = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];

function npmCi(folder: string, env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { cwd: folder, env, timeout: FETCH_MS, maxBuffer: MAX_SAID };
    execFile(npmProgram(), NPM_WORDS, options, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(failureOf(error, stderr));
    });
  });
}

/** The npm that came with this Node.js, or else the one on the path. */
function npmProgram(): string {
  const beside = join(dirname(process.execPath), 'npm');
  return existsSync(beside) ? beside : 'npm';
}

function failureOf(cause: Error, said: string): CodedError {
  const code = /npm error code (\w+)/.exec(said)?.[1] ?? systemCodeOf(cause) ?? 'unknown';
  if (code === 'EINTEGRITY')
    return new CodedError('download_unfit', 'The registry delivered other bytes than this version pins.', {
      cause,
      hint: 'a mirror or a proxy may hold something else: look which registry npm uses (npm config get registry)',
    });
  const why = code === 'ENOENT' ? 'npm is not on the PATH' : `npm says ${code}`;
  return new CodedError('download_failed', `The build could not be fetched: ${why}.`, {
    cause,
    hint: 'give the command again where a registry of npm can be reached; what came whole is not fetched again',
  });
}
