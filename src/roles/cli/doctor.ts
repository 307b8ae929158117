import { existsSync, statSync } from 'node:fs';
import { createLogger } from '../../ground/logging/logger.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { loadEngine } from '../../core/engines/load-engine.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { redisUsers, userName } from '../../ground/redis/acl.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import { durabilityLevel } from '../../ground/redis/durability.ts';
import { inspectRedis, type Demands } from '../../ground/redis/requirements.ts';
import { ADMIN, type DataFolder } from './data-folder.ts';
import { openPools } from './set-up.ts';

/** One thing that was looked at. */
export interface Finding {
  readonly what: string;
  readonly ok: boolean;
  readonly found: string;
  readonly advice?: string;
}

const MAX_CLOCK_SKEW_MS = 2_000;

/**
 * Examines an installation: node, keys, Redis as each role, engines. Each is examined by itself, so that one
 * problem does not hide another. Throws nothing: a failure is a finding.
 */
export async function examine(data: DataFolder, redisUrl: string): Promise<Finding[]> {
  const findings: Finding[] = [nodeVersion()];
  for (const role of ['api', 'attestor', 'log', 'worker-1'])
    findings.push(
      attempt(`key of the ${role}`, 'countersign up makes it', () =>
        readSigningKey(data.roleKey(role)).public.id.slice(0, 16),
      ),
    );
  findings.push(
    attempt(
      'keyring',
      'countersign up makes it',
      () => `${readKeyring(data.keyring()).of('attestor').length} attestor key(s)`,
    ),
  );
  if (existsSync(data.devKey())) {
    const mode = statSync(data.devKey()).mode & 0o777;
    findings.push({
      what: 'development key',
      ok: (mode & 0o077) === 0,
      found: `mode ${mode.toString(8)}`,
      advice: `chmod 600 ${data.devKey()}`,
    });
  }
  for (const user of [...usersOf(data), ADMIN]) findings.push(...(await redisFindings(data, redisUrl, user)));
  findings.push(...(await engineFindings(data)));
  return findings;
}

/** The Redis users of the roles and pools; of the roles alone where there is no catalog to read. */
function usersOf(data: DataFolder): string[] {
  try {
    return redisUsers(openPools(data)).map(userName);
  } catch {
    return redisUsers([]).map(userName);
  }
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return {
    what: 'node',
    ok: major > 20 || (major === 20 && minor >= 19),
    found: process.versions.node,
    advice: 'Node.js 20.19 or later is needed',
  };
}

function attempt(what: string, advice: string, look: () => string): Finding {
  try {
    return { what, ok: true, found: look() };
  } catch (error) {
    return { what, ok: false, found: messageOf(error), advice };
  }
}

async function redisFindings(data: DataFolder, url: string, role: string): Promise<Finding[]> {
  const what = `redis as ${role}`;
  let access: RedisAccess;
  try {
    access = { url, user: role, password: data.passwordOf(role), shard: data.shard, ...data.sentinelLogin() };
  } catch (error) {
    return [{ what, ok: false, found: messageOf(error), advice: 'countersign up makes the passwords' }];
  }
  const redis = openRedis(access, 'prompt', createLogger('doctor', 'error'));
  try {
    await whenReady(redis, 2_000);
    const findings = (await inspectRedis(redis, demandsOn(role))).map(({ name, ok, found, advice }) => ({
      what: `${what}: ${name}`,
      ok,
      found,
      advice,
    }));
    const [seconds, microseconds] = await redis.time();
    const skewMs = Math.round(Math.abs(Date.now() - Number(seconds) * 1_000 - Number(microseconds) / 1_000));
    return [
      ...findings,
      {
        what: `${what}: clock`,
        ok: skewMs < MAX_CLOCK_SKEW_MS,
        found: `${skewMs} ms apart`,
        advice: 'set both clocks by NTP: deadlines are compared with the clock of Redis',
      },
    ];
  } catch (error) {
    return [
      {
        what,
        ok: false,
        found: messageOf(error),
        advice: 'is it running? countersign up starts one; countersign acl prints its users',
      },
    ];
  } finally {
    redis.disconnect();
  }
}

/** The administrator alone may read how the server keeps its files. */
function demandsOn(user: string): Demands {
  const durability = durabilityLevel(process.env['COUNTERSIGN_DURABILITY'] ?? 'always');
  return user === ADMIN ? { user, durability } : { user };
}

async function engineFindings(data: DataFolder): Promise<Finding[]> {
  let models;
  try {
    models = readCatalog(data.catalog()).all();
  } catch (error) {
    return [
      {
        what: 'model catalog',
        ok: false,
        found: messageOf(error),
        advice: 'countersign up makes one with the demonstration models',
      },
    ];
  }
  const findings: Finding[] = [];
  for (const model of models) {
    const what = `engine ${model.engine} with ${model.name}`;
    try {
      const engine = await loadEngine(model);
      await engine.close();
      findings.push({ what, ok: true, found: `${engine.identity.version}, self-check passed` });
    } catch (error) {
      findings.push({ what, ok: false, found: messageOf(error), advice: `correct the entry in ${data.catalog()}` });
    }
  }
  return findings;
}
