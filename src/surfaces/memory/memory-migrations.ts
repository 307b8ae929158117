import type { Migration } from '../../ground/database/migrate.ts';

/**
 * The shape of the database of memories, the same on a server and embedded. Rows hold ids, times and sealed
 * bytes, and nothing that a person or an app has written: what the database, its log and its backups keep is
 * of no use without the keys, which are elsewhere.
 */
export const MEMORY_MIGRATIONS: readonly Migration[] = [
  {
    name: '1-memories',
    statements: [
      // `lookup` is an HMAC of tenant and name; null once the owner was erased, so that the name is free
      // again.
      `create table owner (
         id text primary key, tenant text not null, lookup text unique, name bytea,
         key_version integer not null, created_ms bigint not null, erased_ms bigint)`,
      `create index owner_tenant on owner (tenant, id)`,
      `create table segment (
         owner text not null, seq bigint not null, key_version integer not null, entries integer not null,
         body bytea not null, primary key (owner, seq))`,
      `create table memory (
         owner text not null, id text not null, tenant text not null, updated_ms bigint not null,
         expires_ms bigint, primary key (owner, id))`,
      `create index memory_id on memory (tenant, id)`,
      `create index memory_expiry on memory (expires_ms) where expires_ms is not null`,
      `create table tombstone (
         owner text not null, id text not null, tenant text not null, removed_ms bigint not null,
         reason text not null, merged_into text, erasure text, receipt text, primary key (owner, id))`,
      `create index tombstone_id on tombstone (tenant, id)`,
      `create table access (
         number bigserial primary key, owner text not null, at_ms bigint not null, by_key text not null,
         action text not null, memories text not null)`,
      `create index access_owner on access (owner, number)`,
      // `statement` is what the API signs; null until the keys are destroyed.
      `create table erasure (
         id text primary key, tenant text not null, owner text not null, plan text not null, asked_ms bigint not null,
         statement text, is_logged boolean not null default false)`,
      `create index erasure_open on erasure (owner) where statement is null`,
    ],
  },
  {
    name: '2-derived-memories',
    statements: [
      // Receipts of the jobs that made memories, sealed under the owner's key.
      `create table receipt (
         owner text not null, job text not null, sha256 text not null, body bytea not null,
         primary key (owner, job))`,
      // What became of the answers of jobs: ids and numbers only.
      `create table taken_in (
         job text primary key, tenant text not null, owner text not null, at_ms bigint not null,
         refusal text, memories text not null, dropped integer not null)`,
      `create index taken_in_owner on taken_in (owner)`,
    ],
  },
  {
    name: '3-tenants-gone',
    // Tenants that were deleted, or are being: no owner of theirs is made.
    statements: [`create table tenant_gone (tenant text primary key)`],
  },
  {
    name: '4-traces-that-end',
    // What tells the oldest traces, which are not kept for ever.
    statements: [
      `create index access_age on access (at_ms)`,
      `create index tombstone_age on tombstone (removed_ms)`,
      `create index tombstone_age_of_owner on tombstone (owner, removed_ms)`,
      `create index tombstone_erasure on tombstone (erasure) where erasure is not null`,
      `create index erasure_age on erasure (asked_ms)`,
      `create index owner_erased on owner (erased_ms) where erased_ms is not null`,
    ],
  },
  {
    name: '5-jobs-that-hold-memories',
    // Jobs whose questions or answers hold memories of an owner, and are erased with them: a row for each
    // memory, and one with none for the owner. `is_due`: it is to go now.
    statements: [
      `create table holder (
         owner text not null, memory text not null, job text not null, tenant text not null,
         until_ms bigint not null, is_due boolean not null default false, primary key (owner, memory, job))`,
      `create index holder_due on holder (tenant) where is_due`,
      `create index holder_age on holder (until_ms)`,
    ],
  },
];
