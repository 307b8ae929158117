import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { redisFields } from '../../ground/config/fields.ts';
import { objectFields } from '../../ground/config/object-fields.ts';
import { parseS3Place, placeIn } from '../../ground/config/s3-place.ts';

/** Where the folder of a role is copied to on its machine, in a container as well. */
export const CONFIG_FOLDER = '/etc/countersign';
/** Where the roles keep what they write. */
export const STATE_FOLDER = '/var/lib/countersign';

const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens');

const PoolPlan = z.strictObject({
  name: Name,
  workers: z.number().int().min(0).max(256),
  /** How many workers may be started besides, each with a key of its own that it asks to be enrolled. */
  invited: z.number().int().min(0).max(10_000).default(0),
  /** Whether workers of others come in through a gateway. */
  gateway: z.boolean().default(false),
  /** Whether a worker of this pool is given a GPU of its own. */
  gpu: z.boolean(),
  /** Whether its workers ask a server over the network. */
  outside: z.boolean(),
});
export type PoolPlan = z.infer<typeof PoolPlan>;

/** The port of the gateway of the first pool; those of further pools stand behind it. */
const FIRST_GATEWAY_PORT = 8282;

/** The most pools of an installation that init makes. */
export const MOST_POOLS = 100;

/** What was asked of `countersign init`; kept in the folder, so that an interrupted run goes on with it. */
export const InstallationPlan = z.strictObject({
  version: z.literal(1),
  pools: z.array(PoolPlan).min(1).max(MOST_POOLS),
  /** Whether attestors ask somebody over the network: witnesses, or the servers that replay tokens. */
  attestorOutside: z.boolean(),
  redisUrl: redisFields.COUNTERSIGN_REDIS_URL,
  /** The catalog that was given; undefined for the demonstration's. */
  catalog: z.string().max(4_096).optional(),
  /** Address of the API for those who send jobs. */
  url: z.string().max(300),
  shard: redisFields.COUNTERSIGN_SHARD.unwrap(),
  /** Name of the transparency log in checkpoints; undefined for one made of the log's key. */
  origin: z.string().min(1).max(200).optional(),
  /** The witness lines of the log policy, of which more than half must sign. */
  witnesses: z.array(z.string().max(600)).max(20),
  /** Who runs the workers: quorums count operators. */
  operator: Name,
  tenant: Name,
  /** `UID:GID` of the files, and of the processes in containers. */
  owner: z.string().regex(/^\d{1,9}:\d{1,9}$/),
  /** Where blobs, files and the log are in S3; without it, in folders that the machines share. */
  objects: z
    .strictObject({
      place: z.string().refine((text) => parseS3Place(text) !== undefined, 'must be such as s3://bucket/prefix'),
      /** Address of the server; undefined for AWS in the region. */
      endpoint: objectFields.COUNTERSIGN_S3_ENDPOINT,
      region: objectFields.COUNTERSIGN_S3_REGION.unwrap().optional(),
    })
    .optional(),
  /** Folder with the program where roles run without containers. */
  program: z.string().min(1).max(300),
});
export type InstallationPlan = z.infer<typeof InstallationPlan>;

/** What roles share under this name: a folder of theirs, or a place in S3. */
export const sharedPlace = ({ objects }: InstallationPlan, ...names: readonly string[]): string =>
  placeIn(objects?.place ?? STATE_FOLDER, ...names);

/** The folder of each worker: `worker-<pool>-<n>`. */
export function workerFolders({ pools }: InstallationPlan): { folder: string; pool: PoolPlan; number: number }[] {
  return pools.flatMap((pool) =>
    Array.from({ length: pool.workers }, (_, at) => ({
      folder: `worker-${pool.name}-${at + 1}`,
      pool,
      number: at + 1,
    })),
  );
}

/** The pools whose workers are started in numbers, each with the folder of all of them: `join-<pool>`. */
export function invitedFolders({ pools }: InstallationPlan): { folder: string; pool: PoolPlan }[] {
  return pools.filter(({ invited }) => invited > 0).map((pool) => ({ folder: `join-${pool.name}`, pool }));
}

/**
 * The pools that have a gateway, each with its folder: `gateway-<pool>`, and the port that it has outside.
 */
export function gatewayFolders({ pools }: InstallationPlan): { folder: string; pool: PoolPlan; port: number }[] {
  return pools.flatMap((pool, at) =>
    pool.gateway ? [{ folder: `gateway-${pool.name}`, pool, port: FIRST_GATEWAY_PORT + at }] : [],
  );
}

/**
 * Whether workers are let in while the installation runs: then the list stands where attestors read it at
 * once.
 */
export const letsIn = (plan: InstallationPlan): boolean => invitedFolders(plan).length > 0;

/**
 * The plan to go on with where one was kept: the same, or one with more workers or pools. Throws CodedError
 * `request_invalid` that names what differs, because keys and certificates of the old plan are in use.
 */
export function continuedPlan(kept: InstallationPlan, asked: InstallationPlan): InstallationPlan {
  const fixed = [
    'catalog',
    'redisUrl',
    'url',
    'shard',
    'origin',
    'witnesses',
    'operator',
    'tenant',
    'owner',
    'program',
    'objects',
  ] as const;
  const differing = fixed.filter((name) => JSON.stringify(kept[name]) !== JSON.stringify(asked[name]));
  const fewer = kept.pools.filter(
    ({ name, workers }) => (asked.pools.find((pool) => pool.name === name)?.workers ?? -1) < workers,
  );
  const problems = [...differing, ...fewer.map(({ name }) => `workers of ${name}`)];
  if (problems.length === 0) return asked;
  throw new CodedError('request_invalid', `The folder was made with other settings: ${problems.join(', ')}.`, {
    hint: 'give the same ones again (installation.json has them), or choose an empty folder; workers and pools can be added and not removed',
  });
}
