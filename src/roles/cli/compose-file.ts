import { OWN_FOLDER, registrarEnvironment, roleEnvironments, type RoleEnvironment } from './role-environments.ts';
import { CONFIG_FOLDER, STATE_FOLDER, letsIn, type InstallationPlan } from './installation-plan.ts';
import { yamlOf, type Yaml } from './yaml.ts';

/** Where the compose file stands, seen from the folder of the installation. */
interface Place {
  /** Path to the folder of the installation, such as `.` or `./installation`. */
  readonly folder: string;
  /** Path to the sources from which the images are built. */
  readonly source: string;
  /** `UID:GID`, or a variable of compose. */
  readonly owner: string;
  /** The comment at its top, one line each. */
  readonly header: readonly string[];
}

/**
 * A compose file with a container for each process. A container sees the folder of its role and what its role
 * shares with others, and runs as the owner of these files, because secrets that others can read are refused.
 */
export function composeFile(plan: InstallationPlan, place: Place): string {
  const services = Object.fromEntries(
    roleEnvironments(plan).map((environment) => [environment.folder, serviceOf(environment, plan, place)]),
  );
  const document: Yaml = {
    name: 'countersign',
    services: {
      redis: redisService(place),
      ...services,
      ...(letsIn(plan) ? { registrar: registrarService(plan, place) } : {}),
    },
    networks: {
      // Workers meet Redis here and nobody else: not the API, and nothing outside.
      api: { internal: true },
      work: { internal: true },
      attest: { internal: true },
      public: {},
      outside: {},
    },
  };
  return `${place.header.map((line) => `# ${line}\n`).join('')}${yamlOf(document).slice(1)}`;
}

const hardened = (owner: string) => ({
  restart: 'unless-stopped',
  user: owner,
  read_only: true,
  cap_drop: ['ALL'],
  security_opt: ['no-new-privileges:true'],
});

function redisService({ folder, owner }: Place): Yaml {
  return {
    image: 'redis:7.4-bookworm',
    ...hardened(owner),
    command: ['redis-server', `${CONFIG_FOLDER}/redis/redis.conf`],
    volumes: [
      // Writable: Redis writes its users here when an administrator changes one.
      `${folder}/redis:${CONFIG_FOLDER}/redis`,
      `${folder}/data/redis:${STATE_FOLDER}/redis`,
    ],
    networks: ['api', 'work', 'attest'],
    healthcheck: {
      // Nobody may ask it anything without a password: that it says so is enough.
      test: ['CMD-SHELL', 'redis-cli ping 2>&1 | grep -qE "PONG|NOAUTH|NOPERM"'],
      ...HEALTH,
    },
  };
}

/**
 * Lets workers in that ask with a join token. It alone has the registry's key, and nothing comes in to it.
 */
function registrarService(plan: InstallationPlan, { folder, source, owner }: Place): Yaml {
  return {
    image: 'countersign-full',
    build: { context: source, target: 'full' },
    ...hardened(owner),
    command: ['dist/roles/cli/main.js', 'workers', 'admit'],
    environment: registrarEnvironment(plan),
    tmpfs: ['/tmp'],
    volumes: [`${folder}/registrar:${CONFIG_FOLDER}/registrar:ro`, `${folder}/list:${CONFIG_FOLDER}/list`],
    networks: ['attest'],
    depends_on: { redis: { condition: 'service_healthy' } },
  };
}

const HEALTH = { interval: '5s', timeout: '3s', retries: 12, start_period: '60s' };

function serviceOf(
  { folder, role, pool, number, variables }: RoleEnvironment,
  plan: InstallationPlan,
  place: Place,
): Yaml {
  const target = role === 'worker' || role === 'gateway' ? 'worker' : 'full';
  return {
    image: `countersign-${target}`,
    build: { context: place.source, target },
    ...hardened(place.owner),
    command: [`dist/roles/${role}/main.js`],
    env_file: [`${place.folder}/${folder}/${role}.env`],
    tmpfs: ['/tmp'],
    volumes: [
      `${place.folder}/${folder}:${CONFIG_FOLDER}/${folder}:ro`,
      ...stateOf(role, pool?.name ?? '', plan, place.folder),
      ...(role === 'attestor' && letsIn(plan) ? [`${place.folder}/list:${CONFIG_FOLDER}/list:ro`] : []),
      // A volume without a name: each container has one of its own, and keeps it over restarts.
      ...(variables['COUNTERSIGN_JOIN_TOKEN_FILE'] === undefined ? [] : [OWN_FOLDER]),
    ],
    networks: networksOf(
      role,
      plan.objects !== undefined || (role === 'worker' ? pool?.outside === true : plan.attestorOutside),
    ),
    ...portsOf(role, variables),
    depends_on: { redis: { condition: 'service_healthy' } },
    healthcheck: { test: ['CMD', 'node', '-e', healthProbe(variables)], ...HEALTH },
    stop_grace_period: '60s',
    ...(role === 'worker' && pool?.gpu === true ? { deploy: gpuOf(number) } : {}),
  };
}

/** What is called from outside listens on this host only: a proxy with TLS stands before it. */
function portsOf(role: RoleEnvironment['role'], { COUNTERSIGN_PORT: port = '' }: RoleEnvironment['variables']) {
  return role === 'api' || role === 'gateway' ? { ports: [`127.0.0.1:${port}:${port}`] } : {};
}

/**
 * Readiness of the API is a worker and an attestor that consume, and of a gateway Redis: not a port that
 * listens.
 */
function healthProbe(variables: RoleEnvironment['variables']): string {
  const { COUNTERSIGN_METRICS_PORT: metricsPort = '', COUNTERSIGN_PORT: port } = variables;
  const url = port === undefined ? `http://127.0.0.1:${metricsPort}/health` : `http://127.0.0.1:${port}/health/ready`;
  return `fetch('${url}').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))`;
}

/** What a role shares with others. A worker sees what its pool hands in and out, and nothing else. */
function stateOf(role: RoleEnvironment['role'], pool: string, { objects }: InstallationPlan, folder: string): string[] {
  const state = (name: string, mode = '') =>
    objects === undefined ? [`${folder}/data/${name}:${STATE_FOLDER}/${name}${mode}`] : [];
  const models = `${folder}/models:${STATE_FOLDER}/models:ro`;
  switch (role) {
    case 'gateway':
      return state(`blobs/pools/${pool}`);
    case 'worker':
      return [...state(`blobs/pools/${pool}`), models];
    case 'attestor':
      return [...state('blobs'), ...state('log'), models];
    case 'api':
    case 'courier':
      return [...state('blobs'), ...state('files'), ...state('log', ':ro'), models];
  }
}

function networksOf(role: RoleEnvironment['role'], isOutside: boolean): string[] {
  switch (role) {
    case 'api':
    case 'courier':
      return ['api', 'public'];
    case 'gateway':
      return ['work', 'public'];
    case 'attestor':
      return ['attest', ...(isOutside ? ['outside'] : [])];
    case 'worker':
      return ['work', ...(isOutside ? ['outside'] : [])];
  }
}

/** One GPU for each worker, by its number; those that are started in numbers share all of them. */
function gpuOf(number: number | undefined): Yaml {
  const which = number === undefined ? { count: 'all' } : { device_ids: [String(number - 1)] };
  return { resources: { reservations: { devices: [{ driver: 'nvidia', ...which, capabilities: ['gpu'] }] } } };
}
