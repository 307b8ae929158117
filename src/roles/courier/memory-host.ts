import { fork, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { lockFolder } from '../../ground/database/folder-lock.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { RestartPauses } from '../../ground/process/growing-pause.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import { HANDED_ON } from '../../surfaces/memory/memory-fields.ts';
import type { CourierConfig } from './courier-config.ts';

/** How often a courier tries to become the host, where another one is. */
const CLAIM_EVERY_MS = 5_000;
/** The process ends when nobody has used it for so long: it holds hundreds of megabytes. */
const IDLE_MS = 900_000;
const LOOK_EVERY_MS = 30_000;

/**
 * Hosts the role `memory` where it is used at all: listens at its socket, starts its process with the first
 * connection, and hands connections through. Of several couriers with one folder one hosts, and another takes
 * over when it ends. When the process dies, its connections break, and the next one starts it again.
 */
export class MemoryHost {
  readonly #config: CourierConfig;
  readonly #logger: Logger;
  readonly #task: PeriodicTask;
  readonly #pauses = new RestartPauses();
  readonly #open = new Set<Socket>();
  #server: Server | undefined;
  #release: (() => void) | undefined;
  #child: Promise<ChildProcess> | undefined;
  #isReady = false;
  #usedMs = Date.now();
  #notBeforeMs = 0;

  constructor(config: CourierConfig, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
    this.#task = new PeriodicTask(
      () => this.#look(),
      (error) => logger.debug(`hosting the memory: ${messageOf(error)}; it is tried again`),
      CLAIM_EVERY_MS,
    );
  }

  start(): void {
    if (this.#config.COUNTERSIGN_MEMORY !== undefined) this.#task.start();
  }

  async stop(): Promise<void> {
    await this.#task.stop();
    this.#server?.close();
    const child = await this.#child?.catch(() => undefined);
    if (child !== undefined) await ended(child);
    for (const socket of this.#open) socket.destroy();
    this.#release?.();
  }

  /**
   * Where the history of ended jobs is now. `nothing`: nobody has used the memory yet, or it is not this
   * courier's to write. `asleep`: the process is not running; `wake` starts it. What is written to one that
   * runs does not keep it from being ended.
   */
  history(): 'nothing' | 'asleep' | MemoryClient {
    const { COUNTERSIGN_MEMORY: folder, COUNTERSIGN_MEMORY_SOCKET: socket } = this.#config;
    if (folder === undefined) return socket === undefined ? 'nothing' : new MemoryClient(socket);
    if (this.#server === undefined) return 'nothing';
    if (this.#isReady) return new MemoryClient(placesOf(this.#config).inner);
    const isThere = this.#config.COUNTERSIGN_MEMORY_DATABASE_FILE !== undefined || existsSync(join(folder, 'database'));
    return isThere ? 'asleep' : 'nothing';
  }

  /** The memory, which is started by the next call. */
  wake(): MemoryClient {
    return new MemoryClient(this.#config.COUNTERSIGN_MEMORY_SOCKET);
  }

  /** Becomes the host where nobody is, and ends a process that nobody uses. */
  async #look(): Promise<number> {
    if (this.#server === undefined) await this.#claim();
    const isIdle = this.#open.size === 0 && Date.now() - this.#usedMs > IDLE_MS;
    if (isIdle) await this.#child?.then((child) => ended(child)).catch(() => undefined);
    return LOOK_EVERY_MS;
  }

  /** Throws CodedError `start_failed` while another courier hosts. */
  async #claim(): Promise<void> {
    const { folder, socket } = placesOf(this.#config);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
    this.#release ??= await lockFolder(join(folder, 'host'));
    // Whoever listened there has ended: it held the lock.
    rmSync(socket, { force: true });
    const server = createServer((incoming) => void this.#serve(incoming));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(socket, resolve);
    });
    chmodSync(socket, 0o600);
    this.#server = server;
    this.#logger.info({ socket }, 'hosting the memory');
  }

  async #serve(incoming: Socket): Promise<void> {
    this.#usedMs = Date.now();
    this.#open.add(incoming);
    incoming.on('error', () => undefined);
    incoming.once('close', () => {
      this.#open.delete(incoming);
      this.#usedMs = Date.now();
    });
    try {
      await this.#running();
    } catch (error) {
      this.#logger.warn(`the memory does not start: ${messageOf(error)}`);
      incoming.destroy();
      return;
    }
    const outgoing = connect(placesOf(this.#config).inner);
    outgoing.on('error', () => incoming.destroy());
    outgoing.once('close', () => incoming.destroy());
    incoming.once('close', () => outgoing.destroy());
    incoming.pipe(outgoing).pipe(incoming);
  }

  /** The process, once it is ready. Throws where it does not start; it is then left alone for a while. */
  #running(): Promise<ChildProcess> {
    if (this.#child === undefined) {
      if (Date.now() < this.#notBeforeMs) return Promise.reject(new Error('it has just failed'));
      const startedMs = Date.now();
      const child = startMemory(this.#config);
      this.#child = child;
      const over = (process?: ChildProcess) => {
        this.#child = undefined;
        this.#isReady = false;
        const wasAsked = process?.exitCode === 0;
        if (!wasAsked) this.#notBeforeMs = Date.now() + this.#pauses.after(Date.now() - startedMs);
      };
      child.then(
        (running) => {
          this.#isReady = true;
          running.once('exit', () => over(running));
        },
        () => over(),
      );
    }
    return this.#child;
  }
}

/** The folder, the socket where others come, and the one of the process itself. */
function placesOf(config: CourierConfig): { folder: string; socket: string; inner: string } {
  const { COUNTERSIGN_MEMORY: folder, COUNTERSIGN_MEMORY_SOCKET: socket } = config;
  if (folder === undefined || socket === undefined)
    throw new CodedError('config_invalid', 'A courier that hosts the memory needs its folder and socket.');
  return { folder, socket, inner: join(folder, 'role.sock') };
}

function startMemory(config: CourierConfig): Promise<ChildProcess> {
  const { folder, inner } = placesOf(config);
  const child = fork(fileURLToPath(new URL('../memory/main.js', import.meta.url)), [], {
    execArgv: [],
    // What this role may know, and no Redis, no signing key. The channel ends with us, and the process with
    // it.
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: process.env['HOME'] ?? '',
      COUNTERSIGN_LOG_LEVEL: config.COUNTERSIGN_LOG_LEVEL,
      COUNTERSIGN_MEMORY: folder,
      COUNTERSIGN_MEMORY_SOCKET: inner,
      ...Object.fromEntries(
        HANDED_ON.flatMap((name) => (config[name] === undefined ? [] : [[name, String(config[name])]])),
      ),
    },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`it ended with ${signal ?? code ?? 0}`)));
    if (child.stdout)
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line.startsWith('{"ready":true')) resolve(child);
      });
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await over;
}
