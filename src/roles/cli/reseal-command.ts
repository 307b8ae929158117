import type { Command } from 'commander';
import type { Redis } from 'ioredis';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { Webhooks } from '../../surfaces/webhooks/webhook.store.ts';
import type { CliContext } from './cli-context.ts';
import { ADMIN } from './data-folder.ts';
import { Output, jsonOption } from './output.ts';

const KEYS_PER_STEP = 1_000;

/** `countersign keys reseal`: the step after which an earlier key of secrets is not needed any more. */
export function addResealCommand(cli: CliContext, keys: Command): void {
  keys
    .command('reseal')
    .description('seal every stored secret by the first key of COUNTERSIGN_SECRETS_KEY_FILES; the others can go then')
    .option('--redis <url>', 'Redis, by default the one of the data folder')
    .addOption(jsonOption())
    .action(async (options: { redis?: string; json?: boolean }) => {
      const secrets = SecretsKeys.read(cli.data.secretsKeys());
      const names = new RedisKeys(cli.data.shard);
      const found = { tenants: 0, resealed: 0 };
      await cli.withRedis(ADMIN, options.redis, async (redis) => {
        const webhooks = new Webhooks(redis, names, secrets);
        for await (const tenant of tenantsWithSecrets(redis, names)) {
          found.tenants += 1;
          found.resealed += await webhooks.reseal(tenant);
        }
      });
      const { tenants, resealed } = found;
      const line = `${resealed} sealed anew, at ${tenants} tenants; all are sealed by the first key now`;
      new Output(options.json === true).show(found, [line]);
    });
}

/** The tenants that have secrets, each at least once. */
async function* tenantsWithSecrets(redis: Redis, names: RedisKeys): AsyncGenerator<string> {
  const base = names.webhooks('');
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${base}*`, 'COUNT', KEYS_PER_STEP);
    for (const key of found) yield key.slice(base.length);
    cursor = next;
  } while (cursor !== '0');
}
