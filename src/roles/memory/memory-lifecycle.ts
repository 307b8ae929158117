import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { Database } from '../../ground/database/database.ts';
import { PgliteDatabase } from '../../ground/database/pglite-database.ts';
import { PostgresDatabase } from '../../ground/database/postgres-database.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { OwnEmbedder, type Embedder } from '../../surfaces/memory/embedder.ts';
import { openMemoryDesk } from '../../surfaces/memory/memory-desk.ts';
import { MemoryServer } from '../../surfaces/memory/memory-server.ts';
import { ServedEmbedder } from '../../surfaces/memory/served-embedder.ts';
import { VaultKeys } from '../../surfaces/memory/vault-keys.ts';
import { ChangedWrapping, WrappingKey, type KeyWrapping } from '../../surfaces/memory/wrapping-key.ts';
import type { MemoryConfig } from './memory-config.ts';

const TIDY_EVERY_MS = 60_000;

/** Opens the database, serves the calls, and closes in the opposite order. */
export class MemoryLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #config: MemoryConfig;
  readonly #logger: Logger;
  #stops: (() => Promise<void>)[] = [];

  constructor(config: MemoryConfig, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
  }

  /** Throws CodedErrors that say what to do. */
  async onApplicationBootstrap(): Promise<void> {
    const { COUNTERSIGN_MEMORY: folder, COUNTERSIGN_MEMORY_SOCKET: socket } = this.#config;
    const wrapping = this.#wrapping();
    const database = await this.#database(folder);
    this.#stops.unshift(() => database.close());
    const desk = await openMemoryDesk({
      database,
      folder,
      wrapping,
      embedder: this.#embedder(),
      openBytes: this.#config.COUNTERSIGN_MEMORY_OPEN_BYTES,
      keptMs: retentionOf(this.#config.COUNTERSIGN_MEMORY_RETENTION),
      history: {
        keptMs: this.#config.COUNTERSIGN_MEMORY_HISTORY_DAYS * DAY_MS,
        jobs: this.#config.COUNTERSIGN_MEMORY_HISTORY_JOBS,
      },
    });
    this.#stops.unshift(() => {
      desk.stop();
      return Promise.resolve();
    });
    const tidying = new PeriodicTask(
      async () => {
        await desk.tidy();
        return TIDY_EVERY_MS;
      },
      (error) => this.#logger.warn(`tidying the memory: ${messageOf(error).slice(0, 300)}; it is tried again`),
      TIDY_EVERY_MS,
    );
    tidying.start(TIDY_EVERY_MS);
    this.#stops.unshift(() => tidying.stop());
    const server = new MemoryServer(desk.answers, this.#logger);
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
    await server.listen(socket);
    this.#stops.unshift(() => server.close());
  }

  async beforeApplicationShutdown(): Promise<void> {
    for (const stop of this.#stops) await stop();
  }

  #wrapping(): KeyWrapping {
    const {
      COUNTERSIGN_MEMORY_KEY_FILE: keyFile,
      COUNTERSIGN_MEMORY_VAULT_URL: url,
      COUNTERSIGN_MEMORY_VAULT_KEY: place,
      COUNTERSIGN_MEMORY_VAULT_TOKEN_FILE: tokenFile,
    } = this.#config;
    const file = keyFile === undefined ? undefined : WrappingKey.read(keyFile);
    if (url === undefined && file !== undefined) return file;
    if (url === undefined || tokenFile === undefined)
      throw new CodedError('config_invalid', 'The memory needs a key file, or the address of a Vault and its token.', {
        hint: 'set COUNTERSIGN_MEMORY_KEY_FILE, or COUNTERSIGN_MEMORY_VAULT_URL and …_VAULT_TOKEN_FILE',
      });
    const end = place.lastIndexOf('/');
    const vault = new VaultKeys({
      ...{ url, mount: place.slice(0, end), key: place.slice(end + 1) },
      token: readSecretFile(tokenFile).reveal().trim(),
    });
    return file === undefined ? vault : new ChangedWrapping(vault, file);
  }

  #embedder(): Embedder {
    const {
      COUNTERSIGN_MEMORY_EMBEDDER_URL: url,
      COUNTERSIGN_MEMORY_EMBEDDER_MODEL: model,
      COUNTERSIGN_MEMORY_EMBEDDER_KEY_FILE: keyFile,
    } = this.#config;
    if (url === undefined) return new OwnEmbedder();
    const key = keyFile === undefined ? undefined : readSecretFile(keyFile).reveal().trim();
    return new ServedEmbedder({ url, model, key });
  }

  async #database(folder: string): Promise<Database> {
    const { COUNTERSIGN_MEMORY_DATABASE_FILE: file } = this.#config;
    if (file === undefined) return PgliteDatabase.open(folder);
    return PostgresDatabase.open(readSecretFile(file).reveal().trim(), (error) => {
      // Another process may have the database now: nothing more may be written from here.
      this.#logger.error(`the lock of the database is lost: ${messageOf(error)}`);
      process.exit(1);
    });
  }
}

const DAY_MS = 86_400_000;

function retentionOf(text = ''): Map<string, number> {
  const parts = text.split(',').filter((part) => part !== '');
  return new Map(
    parts.map((part) => {
      const [category = '', days = ''] = part.split('=');
      return [category.trim(), Number(days) * DAY_MS];
    }),
  );
}
