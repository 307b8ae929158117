import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import type { CatalogModel } from '../../core/catalog/catalog.ts';
import { LoadedEngines } from '../../core/engines/loaded-engines.ts';
import { HardwareSession } from '../../core/execution/hardware-session.ts';
import { JobRunner } from '../../core/execution/job-runner.ts';
import { RunTimes } from '../../core/execution/run-times.ts';
import { GpuWatch } from '../../core/gpus/gpu-watch.ts';
import { GatewayClient } from '../../core/remote/gateway-client.ts';
import { doorOf } from '../../core/remote/gateway-door.ts';
import { RemoteBlobs } from '../../core/remote/remote-blobs.ts';
import { RemoteDemand } from '../../core/remote/remote-demand.ts';
import { RemoteDeliveries } from '../../core/remote/remote-deliveries.ts';
import { RemoteHardware } from '../../core/remote/remote-hardware.ts';
import { RemoteHeartbeat } from '../../core/remote/remote-heartbeat.ts';
import { RemoteJobs } from '../../core/remote/remote-jobs.ts';
import { RemotePieces } from '../../core/remote/remote-pieces.ts';
import { REMOTE_STORAGE, RemoteStanding } from '../../core/remote/remote-standing.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { watchUpstream } from '../../ground/metrics/process-metrics.ts';
import type { GatewayWorkerConfig } from './gateway-worker-config.ts';
import { loadEngines, slotsOf } from './own-engines.ts';
import { servedModels } from './served-models.ts';
import { WorkerLifecycle } from './worker-lifecycle.ts';

/** How often a gateway is asked at the start before the worker gives up, ms. */
const START_MS = 10_000;
/** How often a gateway is asked what waits for models that take turns, ms. */
const DEMAND_EVERY_MS = 1_000;

/** What a worker says to its gateway, and through which part. */
interface Links {
  readonly gateway: GatewayClient;
  readonly standing: RemoteStanding;
  readonly hardware: RemoteHardware;
  readonly heartbeat: RemoteHeartbeat;
  readonly jobs: RemoteJobs;
  readonly pieces: RemotePieces;
  readonly blobs: RemoteBlobs;
  readonly demand: RemoteDemand;
}

/** One worker of a pool that reaches it through a gateway: the engines and the runner of any other worker. */
@Module({})
export class GatewayWorkerModule {
  /** Reads the worker's files. Throws CodedErrors that say what to do. */
  static with(config: GatewayWorkerConfig, logger: Logger): DynamicModule {
    const key = readSigningKey(config.COUNTERSIGN_WORKER_KEY_FILE);
    const models = servedModels(config);
    return { module: GatewayWorkerModule, providers: [lifecycleProvider(config, models, key, logger)] };
  }
}

function lifecycleProvider(
  config: GatewayWorkerConfig,
  models: readonly CatalogModel[],
  key: SigningKey,
  logger: Logger,
): Provider {
  return {
    provide: WorkerLifecycle,
    useFactory: async () => {
      // Before the engines: a worker that is not let in says so before it loads gigabytes.
      const links = await reach(config, key, logger);
      const engines = await loadEngines(config, models, logger);
      return lifecycleOf(config, models, key, links, engines, logger);
    },
  };
}

/** Opens a session. Throws CodedError as the gateway refuses, `gateway_away`, or `config_invalid`. */
async function reach(config: GatewayWorkerConfig, key: SigningKey, logger: Logger): Promise<Links> {
  const { COUNTERSIGN_POOL: wanted } = config;
  const send = doorOf({
    url: config.COUNTERSIGN_GATEWAY_URL,
    certFile: config.COUNTERSIGN_GATEWAY_CERT_FILE,
    keyFile: config.COUNTERSIGN_GATEWAY_KEY_FILE,
    caFile: config.COUNTERSIGN_GATEWAY_CA_FILE,
  });
  const gateway = new GatewayClient(config.COUNTERSIGN_GATEWAY_URL, key, logger, send);
  watchUpstream(() => gateway.isThere);
  const { pool, renew_every_ms: renewEveryMs } = await gateway.session(START_MS);
  if (pool !== wanted)
    throw new CodedError('config_invalid', `The gateway serves the pool ${pool}, and this worker the pool ${wanted}.`, {
      hint: 'COUNTERSIGN_POOL names the pool of the worker',
    });
  return linksOver(gateway, key, renewEveryMs, logger);
}

/** All that is said through one gateway. */
export function linksOver(gateway: GatewayClient, key: SigningKey, renewEveryMs: number, logger: Logger): Links {
  const [standing, hardware] = [new RemoteStanding(logger), new RemoteHardware(gateway)];
  const challenged = (nonce: string) => hardware.hear(nonce);
  const heartbeat = new RemoteHeartbeat({ gateway, standing, key, renewEveryMs, challenged, logger });
  const pieces = new RemotePieces(gateway);
  return {
    gateway,
    standing,
    hardware,
    heartbeat,
    pieces,
    jobs: new RemoteJobs(gateway, pieces),
    demand: new RemoteDemand(gateway),
    blobs: new RemoteBlobs(gateway, (job) => heartbeat.claimOf(job)),
  };
}

/** The life of a worker that has these links and engines. */
export function lifecycleOf(
  config: GatewayWorkerConfig,
  models: readonly CatalogModel[],
  key: SigningKey,
  links: Links,
  engines: LoadedEngines,
  logger: Logger,
): WorkerLifecycle {
  const { gateway, standing, heartbeat, jobs, pieces, blobs, hardware, demand } = links;
  const { COUNTERSIGN_TEE_COMMAND: command } = config;
  const slots = new Map(models.map((model) => [model.name, slotsOf(config, model)]));
  const runner = new JobRunner({
    claims: jobs,
    pieces,
    blobs,
    storage: REMOTE_STORAGE,
    heartbeat,
    engines,
    times: new RunTimes(),
    key,
    logger,
  });
  return new WorkerLifecycle({
    engines,
    heartbeat,
    runner,
    consumers: new RemoteDeliveries({ gateway, jobs, runner, engines, slots, refused: endFor(logger), logger }),
    standing,
    storage: REMOTE_STORAGE,
    hardware: command === undefined ? undefined : new HardwareSession({ link: hardware, key, models, command, logger }),
    gpus: new GpuWatch(),
    slotsOf: (model) => slots.get(model) ?? 1,
    demand,
    demandEveryMs: DEMAND_EVERY_MS,
    key,
    token: undefined,
    config,
    logger,
  });
}

/** A worker that was taken off the list ends, and does not ask for ever. */
function endFor(logger: Logger): (error: CodedError) => void {
  return (error) => {
    logger.fatal({ code: error.code }, error.message);
    process.exit(error.exitCode);
  };
}
