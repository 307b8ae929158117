import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { NOOP_MODEL, until } from '../../../test/support/pipeline.ts';
import { PlayedGateway } from '../../../test/support/played-gateway.ts';
import { newKey } from '../../../test/support/sample-receipts.ts';
import { seeded } from '../../../test/support/simulated-tenants.ts';
import { longTest } from '../../../test/support/thorough.ts';
import { LoadedEngines } from '../../core/engines/loaded-engines.ts';
import { NoopEngine } from '../../core/engines/noop-engine.ts';
import { loadConfig } from '../../ground/config/load-config.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { GatewayWorkerConfig } from './gateway-worker-config.ts';
import { lifecycleOf, linksOver } from './gateway-worker.module.ts';
import { servedModels } from './served-models.ts';

const LOGGER = createLogger('worker', 'fatal');
const WORKERS = 3;
const MOST_TURNS = 20;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-drain-'));
  writeFileSync(join(folder, 'models.json'), JSON.stringify({ version: 1, models: [{ ...NOOP_MODEL, parallel: 3 }] }));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at += 1) await turn();
}

/** Engines that take some turns until they are ready, as where a server is asked, and some for each job. */
async function slowEngines(models: ReturnType<typeof servedModels>, random: () => number): Promise<LoadedEngines> {
  const engines = await LoadedEngines.load(models, LOGGER);
  class SlowEngine extends NoopEngine {
    override async *run(...args: Parameters<NoopEngine['run']>): ReturnType<NoopEngine['run']> {
      await turns(random() * MOST_TURNS);
      return yield* super.run(...args);
    }
  }
  const engine = new SlowEngine({ ...NOOP_MODEL, parallel: 3 });
  engines.ready = async () => {
    await turns(random() * MOST_TURNS);
    return engine;
  };
  return engines;
}

/**
 * Starts workers and tells them to leave, again and again, and kills each in the moment in which its gateway
 * has heard that it is idle. Every job may be attempted once.
 */
async function drains(count: number, seed: number) {
  const random = seeded(seed);
  const gateway = new PlayedGateway('noop', random);
  const env = { COUNTERSIGN_GATEWAY_URL: 'http://127.0.0.1:1', COUNTERSIGN_CATALOG: join(folder, 'models.json') };
  const config = loadConfig(GatewayWorkerConfig, { ...env, COUNTERSIGN_WORKER_KEY_FILE: 'none.key' });
  const models = servedModels(config);
  let [left, unsaid] = [count, 0];
  const live = async () => {
    const key = newKey();
    while (left > 0) {
      left -= 1;
      const line = gateway.life(key);
      const links = linksOver(line, key, 60_000, LOGGER);
      const worker = lifecycleOf(config, models, key, links, await slowEngines(models, random), LOGGER);
      gateway.add(4);
      await worker.onApplicationBootstrap();
      if (random() < 0.9) await until(() => line.answers > 0);
      await turns(random() * 2 * MOST_TURNS);
      const hasLeft = worker.beforeApplicationShutdown('SIGTERM');
      while (!line.saidIdle) await turn();
      line.kill();
      await hasLeft;
      await turns(2 * MOST_TURNS);
      unsaid += line.unsaid;
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, live));
  return { lost: gateway.count('lost'), doubled: gateway.doubled, unsaid, done: gateway.count('done') };
}

test.each([1, 2])('a worker that is killed as soon as it says that it is idle loses no job (seed %d)', async (seed) => {
  const { done, ...wrong } = await drains(30, seed);
  expect(wrong).toEqual({ lost: 0, doubled: 0, unsaid: 0 });
  expect(done).toBeGreaterThan(0);
});

longTest(
  'nor in ten thousand drains',
  async () => {
    const { done, ...wrong } = await drains(10_000, 3);
    expect(wrong).toEqual({ lost: 0, doubled: 0, unsaid: 0 });
    expect(done).toBeGreaterThan(10_000);
  },
  3_600_000,
);
