import { join } from 'node:path';
import type { Database } from '../../ground/database/database.ts';
import { migrate } from '../../ground/database/migrate.ts';
import { AccessLog } from './access-log.ts';
import { CarriedMemories } from './carried-memories.ts';
import { DerivedMemories } from './derived-memories.ts';
import type { Embedder } from './embedder.ts';
import { HISTORY_MIGRATIONS } from './history-migrations.ts';
import { HoldingJobs } from './holding-jobs.ts';
import { JobHistory, type HistoryBounds } from './job-history.ts';
import { KeyStore } from './key-store.ts';
import { Memories } from './memories.ts';
import { MemoryErasures } from './memory-erasures.ts';
import { MEMORY_MIGRATIONS } from './memory-migrations.ts';
import type { Retention } from './memory-rows.ts';
import type { MemoryAnswers } from './memory-server.ts';
import { Owners } from './owners.ts';
import { Tombstones } from './tombstones.ts';
import type { KeyWrapping } from './wrapping-key.ts';

interface DeskParts {
  readonly database: Database;
  /** The folder of the keys of owners is in it. */
  readonly folder: string;
  readonly wrapping: KeyWrapping;
  readonly embedder: Embedder;
  readonly openBytes: number;
  readonly keptMs: Retention;
  readonly history: HistoryBounds;
  /** Owners with more memories than this are searched in a thread, and its program, where these are other. */
  readonly largeFrom?: number;
  readonly threadFile?: URL;
}

/** All that answers calls, over one database. */
export interface MemoryDesk {
  readonly answers: MemoryAnswers;
  /** Drops what nobody uses, and erases what is kept no longer. */
  tidy(nowMs?: number): Promise<void>;
  /** Ends what runs beside the calls. */
  stop(): void;
}

/**
 * Brings the database up to date, seals keys under the current wrapping key, goes on with erasures that a
 * crash has left, and returns what answers. Throws CodedErrors that say what to do.
 */
export async function openMemoryDesk({
  database,
  folder,
  wrapping,
  embedder,
  openBytes,
  keptMs,
  history: bounds,
  largeFrom,
  threadFile,
}: DeskParts): Promise<MemoryDesk> {
  await migrate(database, [...MEMORY_MIGRATIONS, ...HISTORY_MIGRATIONS]);
  const keys = new KeyStore(join(folder, 'keys'), wrapping);
  await keys.rewrapAll();
  const accesses = new AccessLog(database);
  const owners = new Owners({ database, keys, openBytes, keptMs, largeFrom, threadFile });
  const tombstones = new Tombstones(database);
  const parts = { database, owners, accesses, embedder, tombstones };
  const memories = new Memories(parts);
  const carried = new CarriedMemories(parts);
  const derived = new DerivedMemories({ ...parts, memories });
  const erasures = new MemoryErasures({ ...parts, keys, memories });
  await erasures.finishAll();
  const holders = new HoldingJobs(database, owners);
  const history = new JobHistory(database, bounds);
  return {
    answers: answersOf({ owners, memories, carried, derived, erasures, holders, history }),
    async tidy(nowMs = Date.now()) {
      owners.closeIdle(nowMs);
      await accesses.trim(nowMs);
      await derived.trim(nowMs);
      await holders.trim(nowMs);
      await tombstones.trim(nowMs);
      await erasures.expire(nowMs);
      await history.tidy(nowMs);
    },
    stop: () => owners.stop(),
  };
}

interface Answering {
  readonly owners: Owners;
  readonly memories: Memories;
  readonly carried: CarriedMemories;
  readonly derived: DerivedMemories;
  readonly erasures: MemoryErasures;
  readonly holders: HoldingJobs;
  readonly history: JobHistory;
}

/** Who answers each call. */
function answersOf({ owners, memories, carried, derived, erasures, holders, history }: Answering): MemoryAnswers {
  return {
    add: (ask) => memories.add(ask),
    place: (ask) => derived.place(ask),
    takeIn: (ask) => derived.takeIn(ask),
    takenIn: (ask) => derived.takenIn(ask),
    noteHolder: (ask) => holders.note(ask),
    dueHolders: (ask) => holders.due(ask),
    forgetHolders: (ask) => holders.forget(ask),
    receipts: (ask) => derived.receipts(ask),
    receiptPage: (ask) => derived.receiptPage(ask),
    get: (ask) => memories.get(ask),
    require: (ask) => memories.require(ask),
    list: (ask) => memories.list(ask),
    profile: (ask) => memories.profile(ask),
    search: (ask) => memories.search(ask),
    correct: (ask) => memories.correct(ask),
    erase: (ask) => erasures.erase(ask),
    eraseOwner: (ask) => erasures.eraseOwner(ask),
    unlogged: (ask) => erasures.unlogged(ask),
    logged: (ask) => erasures.logged(ask),
    accesses: (ask) => memories.accessesOf(ask),
    owners: ({ tenant }) => owners.names(tenant),
    closeTenant: ({ tenant }) => owners.closeTenant(tenant),
    entryPage: (ask) => carried.entryPage(ask),
    tombstonePage: (ask) => carried.tombstonePage(ask),
    putEntries: (ask) => carried.putEntries(ask),
    buryMemories: (ask) => carried.buryMemories(ask),
    historyState: () => history.state(),
    noteEnds: (ask) => history.note(ask),
    findEnded: (ask) => history.find(ask),
    getEnded: (ask) => history.get(ask),
    eraseEnded: (ask) => history.erase(ask),
    forgetTenant: (ask) => history.forgetTenant(ask),
  };
}
