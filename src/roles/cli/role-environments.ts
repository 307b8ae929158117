import {
  CONFIG_FOLDER,
  MOST_POOLS,
  STATE_FOLDER,
  gatewayFolders,
  invitedFolders,
  letsIn,
  sharedPlace,
  workerFolders,
  type InstallationPlan,
  type PoolPlan,
} from './installation-plan.ts';

/** Port of `/health` and `/metrics` of the roles that serve nothing else. */
const METRICS_PORT = 9464;
/** So many workers of a pool have ports that differ; the next ones begin anew, and stand elsewhere. */
const PORTS_OF_A_POOL = 500;

/** A role's folder and the variables of its environment file. */
export interface RoleEnvironment {
  readonly folder: string;
  readonly role: 'api' | 'courier' | 'attestor' | 'worker' | 'gateway';
  readonly variables: Readonly<Record<string, string>>;
  readonly pool?: PoolPlan;
  /** Of the workers of a pool, from 1; absent for those that are started in numbers. */
  readonly number?: number;
}

/** The file of a role with its key of S3. */
export const S3_KEY = 's3.key';

/** Where a worker that is started in numbers keeps the key that it makes. */
export const OWN_FOLDER = `${STATE_FOLDER}/own`;

/** The environment of every process of an installation; compose file and units are made from this list. */
export function roleEnvironments(plan: InstallationPlan): RoleEnvironment[] {
  const service = (folder: string) => ({
    ...common(plan, folder),
    COUNTERSIGN_TICKET_KEY_FILE: `${CONFIG_FOLDER}/${folder}/ticket.key`,
    COUNTERSIGN_SECRETS_KEY_FILES: `${CONFIG_FOLDER}/${folder}/secrets.key`,
    COUNTERSIGN_KEYRING: `${CONFIG_FOLDER}/${folder}/keyring.json`,
    COUNTERSIGN_TLOG: sharedPlace(plan, 'log'),
    COUNTERSIGN_FILES: sharedPlace(plan, 'files'),
  });
  return [
    {
      folder: 'api',
      role: 'api',
      variables: {
        ...service('api'),
        COUNTERSIGN_HOST: '0.0.0.0',
        COUNTERSIGN_PORT: '8181',
        COUNTERSIGN_BOOTSTRAP: `${CONFIG_FOLDER}/api/bootstrap.json`,
      },
    },
    { folder: 'courier', role: 'courier', variables: { ...service('courier'), ...metricsAt(0) } },
    {
      folder: 'attestor',
      role: 'attestor',
      variables: {
        ...common(plan, 'attestor'),
        ...metricsAt(1),
        COUNTERSIGN_ATTESTOR_KEY_FILE: `${CONFIG_FOLDER}/attestor/attestor.key`,
        COUNTERSIGN_TLOG_KEY_FILE: `${CONFIG_FOLDER}/attestor/log.key`,
        COUNTERSIGN_TLOG: sharedPlace(plan, 'log'),
        COUNTERSIGN_KEYRING: `${CONFIG_FOLDER}/attestor/keyring.json`,
        COUNTERSIGN_ENROLLED_WORKERS: `${CONFIG_FOLDER}/${letsIn(plan) ? 'list' : 'attestor'}/workers.json`,
      },
    },
    ...gateways(plan),
    ...workerFolders(plan).map(({ folder, pool, number }): RoleEnvironment => ({
      folder,
      role: 'worker',
      pool,
      number,
      variables: {
        ...worker(plan, folder, pool, number),
        COUNTERSIGN_WORKER_KEY_FILE: `${CONFIG_FOLDER}/${folder}/worker.key`,
      },
    })),
    ...invitedFolders(plan).map(({ folder, pool }): RoleEnvironment => ({
      folder,
      role: 'worker',
      pool,
      variables: {
        ...worker(plan, folder, pool, 1),
        COUNTERSIGN_WORKER_KEY_FILE: `${OWN_FOLDER}/worker.key`,
        COUNTERSIGN_JOIN_TOKEN_FILE: `${CONFIG_FOLDER}/${folder}/join.token`,
      },
    })),
  ];
}

function gateways(plan: InstallationPlan): RoleEnvironment[] {
  return gatewayFolders(plan).map(({ folder, pool, port }): RoleEnvironment => ({
    folder,
    role: 'gateway',
    pool,
    variables: {
      ...common(plan, folder),
      COUNTERSIGN_BLOBS: sharedPlace(plan, 'blobs', 'pools', pool.name),
      COUNTERSIGN_POOL: pool.name,
      COUNTERSIGN_HOST: '0.0.0.0',
      COUNTERSIGN_PORT: String(port),
    },
  }));
}

/** A port of its own for each process: several of an installation may stand on one machine. */
const metricsAt = (place: number) => ({ COUNTERSIGN_METRICS_PORT: String(METRICS_PORT + place) });

/** Ports of workers stay what they are when workers are added to any pool, and pools at the end. */
const placeOf = (plan: InstallationPlan, name: string, number: number): number =>
  2 + plan.pools.findIndex((pool) => pool.name === name) + MOST_POOLS * ((number - 1) % PORTS_OF_A_POOL);

function worker(plan: InstallationPlan, folder: string, { name }: PoolPlan, number: number): Record<string, string> {
  return {
    ...common(plan, folder),
    ...metricsAt(placeOf(plan, name, number)),
    COUNTERSIGN_BLOBS: sharedPlace(plan, 'blobs', 'pools', name),
    COUNTERSIGN_POOL: name,
  };
}

/** What the process needs that lets workers in: the list, the key that signs it, and a Redis login. */
export function registrarEnvironment({ redisUrl, shard }: InstallationPlan): Record<string, string> {
  const file = (name: string) => `${CONFIG_FOLDER}/registrar/${name}`;
  return {
    COUNTERSIGN_DATA: `${CONFIG_FOLDER}/registrar`,
    COUNTERSIGN_REDIS_URL: redisUrl,
    COUNTERSIGN_REDIS_USER: 'attestor',
    COUNTERSIGN_REDIS_PASSWORD_FILE: file('redis.password'),
    COUNTERSIGN_SHARD: shard,
    COUNTERSIGN_CATALOG: file('models.json'),
    COUNTERSIGN_KEYRING: file('keyring.json'),
    COUNTERSIGN_REGISTRY_KEY_FILE: file('registry.key'),
    COUNTERSIGN_ENROLLED_WORKERS: `${CONFIG_FOLDER}/list/workers.json`,
  };
}

function common(plan: InstallationPlan, folder: string): Record<string, string> {
  const { redisUrl, shard, objects } = plan;
  return {
    COUNTERSIGN_REDIS_URL: redisUrl,
    COUNTERSIGN_REDIS_PASSWORD_FILE: `${CONFIG_FOLDER}/${folder}/redis.password`,
    COUNTERSIGN_SHARD: shard,
    COUNTERSIGN_BLOBS: sharedPlace(plan, 'blobs'),
    COUNTERSIGN_CATALOG: `${CONFIG_FOLDER}/${folder}/models.json`,
    ...(objects === undefined ? {} : { COUNTERSIGN_S3_KEY_FILE: `${CONFIG_FOLDER}/${folder}/${S3_KEY}` }),
    ...(objects?.endpoint === undefined ? {} : { COUNTERSIGN_S3_ENDPOINT: objects.endpoint }),
    ...(objects?.region === undefined ? {} : { COUNTERSIGN_S3_REGION: objects.region }),
  };
}

/** Variables as the lines of an environment file that systemd and compose both read. */
export function environmentFile(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
