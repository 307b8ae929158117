import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { Schedules } from '../../src/core/backlog/schedules.ts';
import { Aside } from '../../src/core/confirmation/aside.ts';
import { Decisions } from '../../src/core/confirmation/decisions.ts';
import { RecomputeQueue } from '../../src/core/confirmation/recompute-queue.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
import { Learner } from '../../src/core/confirmation/learner.ts';
import { ServiceTimes } from '../../src/core/confirmation/service-times.ts';
import { Sealer } from '../../src/core/confirmation/sealer.ts';
import { Sweep } from '../../src/core/confirmation/sweep.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { Courtroom } from './courtroom.ts';
import { NOOP_MODEL } from './pipeline.ts';
import { backlogOf } from './queues.ts';
import type { TestRedis } from './redis.ts';
import { newKey } from './sample-receipts.ts';
import { startSequencer } from './sequencer.ts';

/** The parts of an attestor in the hands of a test: they look when they are told, and not by themselves. */
export async function attestorHands(server: TestRedis) {
  const redis = server.client('attestor');
  const { keys } = server;
  const logger = createLogger('test', 'error');
  const room = await Courtroom.open(server, CatalogModel.parse(NOOP_MODEL));
  const sequencer = startSequencer(server, redis, newKey());
  const backlog = backlogOf(redis, keys);
  const schedules = new Schedules(redis, keys);
  const rulings = new Rulings(redis, keys, backlog);
  const recomputations = new RecomputeQueue(redis, keys, []);
  const sealer = new Sealer({ redis, keys, keepJobs: 1_000_000, logger });
  const aside = new Aside(redis, keys, logger);
  const serviceTimes = new ServiceTimes();
  const learner = new Learner({ redis, keys, catalog: new Catalog([CatalogModel.parse(NOOP_MODEL)]), logger });
  const decisions = new Decisions({
    judge: room.judge,
    rulings,
    sequencer,
    sealer,
    recomputations,
    aside,
    serviceTimes,
    learner,
    logger,
  });
  const queues = () => ['default.noop'];
  const { candidates } = room;
  const parts = { redis, keys, queues, backlog, schedules, decisions, candidates, learner, logger };
  const sweep = new Sweep({ ...parts, everyMs: 100, mostLost: 2 });
  return {
    redis,
    enrolled: room.enrolled,
    /** The key of the worker that is enrolled. */
    workerKey: room.worker,
    sequencer,
    decisions,
    backlog,
    schedules,
    sweep,
    async [Symbol.asyncDispose]() {
      await sequencer.stop();
      await room[Symbol.asyncDispose]();
    },
  };
}
