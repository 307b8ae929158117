import { existsSync } from 'node:fs';
import { poolFolder } from '../../ground/blobs/blob-folders.ts';
import { userName } from '../../ground/redis/acl.ts';
import { withoutLogin } from '../../ground/config/redis-address.ts';
import type { RedisAccess } from '../../ground/redis/connection.ts';
import { HANDED_ON } from '../../surfaces/memory/memory-fields.ts';
import type { ChildSpec } from './children.ts';
import { type DataFolder } from './data-folder.ts';
import { workerNames } from './set-up.ts';

/** What decides which processes an installation has. */
export interface ProcessOptions {
  readonly workers: number;
  /** Port of the API; 0 for any free one. */
  readonly port: number;
}

/** The first job needs this many: the api, the attestor and one worker, in the order of `roleProcesses`. */
export const NEEDED_FIRST = 3;

/** The operator's variables that api and courier get unchanged. */
const SERVICE_VARIABLES = [
  'COUNTERSIGN_PRICES',
  'COUNTERSIGN_X402',
  'COUNTERSIGN_WEBHOOK_PRIVATE',
  'COUNTERSIGN_DEFAULT_RECOMPUTE',
  'COUNTERSIGN_STORAGE_SHARE',
  'COUNTERSIGN_STORAGE_BYTES',
  'COUNTERSIGN_DURABILITY',
] as const;
/** Those that the API alone gets. */
const API_VARIABLES = ['COUNTERSIGN_MCP_OAUTH'] as const;
/** Those that every role gets. */
const COMMON_VARIABLES = [
  'COUNTERSIGN_SENTINEL_USER',
  'COUNTERSIGN_SENTINEL_PASSWORD_FILE',
  'COUNTERSIGN_S3_ENDPOINT',
  'COUNTERSIGN_S3_REGION',
  'COUNTERSIGN_S3_KEY_FILE',
  'COUNTERSIGN_OTLP_ENDPOINT',
  'COUNTERSIGN_TRACE_SHARE',
  // The exporter reads these by itself.
  'OTEL_EXPORTER_OTLP_HEADERS',
  'OTEL_EXPORTER_OTLP_CERTIFICATE',
] as const;

/** What workers and attestors, which load models, get of this environment. */
const DEVICE_VARIABLES = [
  'CUDA_VISIBLE_DEVICES',
  'HIP_VISIBLE_DEVICES',
  'ROCR_VISIBLE_DEVICES',
  'GGML_VK_VISIBLE_DEVICES',
  'LD_LIBRARY_PATH',
  'COUNTERSIGN_GPU_BUILD',
] as const;

/** The processes of an installation, each with the environment of its role and no more. */
export function roleProcesses(
  data: DataFolder,
  pools: readonly string[],
  options: ProcessOptions,
  access: RedisAccess,
): ChildSpec[] {
  const redisUrl = withoutLogin(access.url);
  const common = (user: string) => commonVariables(data, redisUrl, user);
  const service = serviceVariables(data);
  const logFile = (name: string) => data.at('logs', `${name}.log`);
  const workers = pools.flatMap((pool) => workerNames(pool, options.workers).map((name) => ({ pool, name })));
  return [
    {
      name: 'api',
      role: 'api',
      env: { ...common('api'), ...service, ...operators(API_VARIABLES), COUNTERSIGN_PORT: String(options.port) },
      logFile: logFile('api'),
    },
    {
      name: 'attestor',
      role: 'attestor',
      env: { ...common('attestor'), ...attestorVariables(data) },
      logFile: logFile('attestor'),
    },
    ...workers.map(({ pool, name }): ChildSpec => ({
      name,
      role: 'worker',
      env: {
        ...common(userName({ role: 'worker', pool })),
        COUNTERSIGN_WORKER_KEY_FILE: data.roleKey(name),
        COUNTERSIGN_POOL: pool,
        COUNTERSIGN_BLOBS: poolFolder(data.blobs(), pool),
        ...engineVariables(data),
      },
      logFile: logFile(name),
    })),
    {
      name: 'courier',
      role: 'courier',
      env: { ...common('api'), ...service, ...memoryVariables(data) },
      logFile: logFile('courier'),
    },
  ];
}

function commonVariables(data: DataFolder, redisUrl: string, user: string): Record<string, string> {
  return {
    COUNTERSIGN_REDIS_URL: redisUrl,
    COUNTERSIGN_REDIS_PASSWORD_FILE: data.redisPassword(user),
    COUNTERSIGN_SHARD: data.shard,
    COUNTERSIGN_BLOBS: data.blobs(),
    COUNTERSIGN_CATALOG: data.catalog(),
    COUNTERSIGN_LOG_LEVEL: process.env['COUNTERSIGN_LOG_LEVEL'] ?? 'info',
    ...operators(COMMON_VARIABLES),
  };
}

function serviceVariables(data: DataFolder): Record<string, string> {
  return {
    COUNTERSIGN_TICKET_KEY_FILE: data.roleKey('api'),
    COUNTERSIGN_SECRETS_KEY_FILES: data.roleKey('secrets'),
    COUNTERSIGN_TLOG: data.log(),
    COUNTERSIGN_KEYRING: data.keyring(),
    COUNTERSIGN_FILES: data.files(),
    COUNTERSIGN_MEMORY_SOCKET: data.at('memory', 'memory.sock'),
    ...operators(SERVICE_VARIABLES),
  };
}

/** The courier hosts the memory, and starts it when it is used first. */
function memoryVariables(data: DataFolder): Record<string, string> {
  return {
    COUNTERSIGN_MEMORY: data.at('memory'),
    COUNTERSIGN_MEMORY_KEY_FILE: data.roleKey('memory'),
    ...operators(HANDED_ON),
  };
}

/** The GPUs, and the build for them that `setup` has brought. */
function engineVariables(data: DataFolder): Record<string, string> {
  const build = ['cuda', 'vulkan'].map((kind) => data.gpuBuild(kind)).find((folder) => existsSync(folder));
  return {
    ...(build === undefined ? {} : { COUNTERSIGN_GPU_BUILD: build }),
    ...operators(DEVICE_VARIABLES),
  };
}

/** What the operator has set of these. */
function operators(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function attestorVariables(data: DataFolder): Record<string, string> {
  return {
    COUNTERSIGN_ATTESTOR_KEY_FILE: data.roleKey('attestor'),
    COUNTERSIGN_TLOG_KEY_FILE: data.roleKey('log'),
    COUNTERSIGN_TLOG: data.log(),
    COUNTERSIGN_KEYRING: data.keyring(),
    COUNTERSIGN_ENROLLED_WORKERS: data.enrolled(),
    ...operators(['COUNTERSIGN_DURABILITY']),
    ...engineVariables(data),
  };
}
