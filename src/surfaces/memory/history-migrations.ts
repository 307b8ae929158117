import type { Migration } from '../../ground/database/migrate.ts';

/**
 * The history of ended jobs. Everything that is looked for is found through an index that ends with the time
 * of creation and the id, so that a page is read in its order and never sorted out of all. What a worker or a
 * caller has written stands apart from the rest, so that erasing it rewrites little.
 */
export const HISTORY_MIGRATIONS: readonly Migration[] = [
  {
    name: 'history-1',
    statements: [
      // Ids are compared as bytes, as Redis compares them.
      `create table ended_job (
         id text collate "C" primary key, tenant text not null, key_id text not null, model text not null,
         pool text not null, task text not null, policy text not null, state text not null, worker text not null,
         epoch integer not null, code text not null, created_ms bigint not null, deadline_ms bigint not null,
         claimed_ms bigint, began_ms bigint, committed_ms bigint, ended_ms bigint not null, input_tokens bigint,
         output_tokens bigint, charge bigint, currency text, erased_ms bigint)`,
      `create index ended_job_tenant on ended_job (tenant, created_ms, id)`,
      `create index ended_job_state on ended_job (tenant, state, created_ms, id)`,
      `create index ended_job_model on ended_job (tenant, model, created_ms, id)`,
      `create index ended_job_worker on ended_job (tenant, worker, created_ms, id)`,
      `create index ended_job_key on ended_job (tenant, key_id, created_ms, id)`,
      `create index ended_job_end on ended_job (ended_ms)`,
      `create table ended_job_detail (id text collate "C" primary key, detail text not null)`,
      `create table ended_job_word (
         tenant text not null, word text not null, created_ms bigint not null, id text collate "C" not null,
         primary key (tenant, word, created_ms, id))`,
      `create index ended_job_word_id on ended_job_word (id)`,
      // What was erased, or belonged to a deleted tenant, does not come back by being read once more.
      `create table ended_job_erased (id text collate "C" primary key, at_ms bigint not null)`,
      `create table ended_job_tenant_gone (tenant text primary key)`,
      // One row: how far the ends are in here, and the entries of the log.
      `create table history (
         is_only boolean primary key default true, entered double precision not null, archived bigint not null,
         jobs bigint not null, is_unpurged boolean not null default false)`,
      `insert into history (entered, archived, jobs) values (0, 0, 0)`,
    ],
  },
];
